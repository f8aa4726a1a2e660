package files

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/wire"
)

var counter atomic.Uint64

// unique is a part of a name that no other request of any process uses.
func unique() string {
	return strconv.Itoa(os.Getpid()) + "-" + strconv.FormatUint(counter.Add(1), 10)
}

// skip is what before says to leave a folder out.
var skip = failure.New(failure.Internal, "a folder that is left out")

// walk visits a path and, if it is a folder, all below it, without following a link. before comes before what is in a folder, after
// behind it; either may be nil.
func walk(path string, before, after func(string, *syscall.Stat_t) *failure.Failure) *failure.Failure {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return cannot("look at", path, err)
	}
	return visit(path, &st, 0, before, after)
}

func visit(path string, st *syscall.Stat_t, depth int, before, after func(string, *syscall.Stat_t) *failure.Failure) *failure.Failure {
	if before != nil {
		if fail := before(path, st); fail == skip {
			return nil
		} else if fail != nil {
			return fail
		}
	}
	if st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		if depth >= maxDepth {
			return failure.New(failure.ResourceExhausted, "folders are nested too deeply: "+path)
		}
		fail := eachName(path, func(name string) *failure.Failure {
			below := strings.TrimRight(path, "/") + "/" + name
			var st syscall.Stat_t
			if err := syscall.Lstat(below, &st); err == syscall.ENOENT {
				return nil
			} else if err != nil {
				return cannot("look at", below, err)
			}
			return visit(below, &st, depth+1, before, after)
		})
		if fail != nil {
			return fail
		}
	}
	if after != nil {
		return after(path, st)
	}
	return nil
}

// eachName goes through a folder, a buffer of names at a time.
func eachName(path string, do func(string) *failure.Failure) *failure.Failure {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return cannot("list", path, err)
	}
	defer syscall.Close(fd)
	buffer := make([]byte, 8<<10)
	var names []string
	for {
		n, err := syscall.ReadDirent(fd, buffer)
		if err != nil {
			return cannot("list", path, err)
		}
		if n == 0 {
			return nil
		}
		_, _, names = syscall.ParseDirent(buffer[:n], -1, names[:0])
		for _, name := range names {
			if fail := do(name); fail != nil {
				return fail
			}
		}
	}
}

// mkdir makes a folder and, with parents, those above it; then one that is there is no error.
func (r *request) mkdir() *failure.Failure {
	path, fail := r.path("path")
	if fail != nil {
		return fail
	}
	mode, fail := r.number("mode", 0o7777, 0o755)
	if fail != nil {
		return fail
	}
	if r.flag("parents") {
		if fail = parents(path); fail != nil {
			return fail
		}
	}
	err := syscall.Mkdir(path, uint32(mode))
	if err == syscall.EEXIST && r.flag("parents") {
		var st syscall.Stat_t
		if syscall.Stat(path, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
			return nil
		}
	}
	if err == nil && r.Get("mode").Kind() == wire.Uint {
		err = syscall.Chmod(path, uint32(mode)) // whatever the umask
	}
	return cannot("make the folder", path, err)
}

func parents(path string) *failure.Failure {
	trimmed := strings.TrimRight(path, "/")
	for i := 1; i < len(trimmed); i++ {
		if trimmed[i] != '/' || trimmed[i-1] == '/' {
			continue
		}
		if err := syscall.Mkdir(trimmed[:i], 0o755); err != nil && err != syscall.EEXIST {
			var st syscall.Stat_t
			if syscall.Stat(trimmed[:i], &st) == nil {
				continue // it is there, and who asks may not make one beside it
			}
			return cannot("make the folder", trimmed[:i], err)
		}
	}
	return nil
}

// remove removes a file, a link or an empty folder; with recursive a folder with all in it; with force also nothing.
func (r *request) remove() *failure.Failure {
	path, fail := r.path("path")
	if fail != nil {
		return fail
	}
	remove := func(path string, st *syscall.Stat_t) *failure.Failure {
		var err error
		if st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
			err = syscall.Rmdir(path)
		} else {
			err = syscall.Unlink(path)
		}
		if err == syscall.ENOENT {
			return nil
		}
		return cannot("remove", path, err)
	}
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		if err == syscall.ENOENT && r.flag("force") {
			return nil
		}
		return cannot("remove", path, err)
	}
	if !r.flag("recursive") {
		return remove(path, &st)
	}
	// A file system may pass over names while others are removed: what is left then is removed by another round.
	for range 8 {
		if fail = visit(path, &st, 0, nil, remove); fail == nil || fail.Code != failure.InvalidState {
			return fail
		}
	}
	return fail
}

// usage adds up what lies below a path: bytes on the disk, bytes of the files, entries. A file with several names counts once; other
// file systems are left out.
func (r *request) usage() *failure.Failure {
	path, fail := r.path("path")
	if fail != nil {
		return fail
	}
	const maxLinked = 1 << 20
	var device, disk, apparent, entries uint64
	linked := make(map[[2]uint64]bool)
	fail = walk(path, func(_ string, st *syscall.Stat_t) *failure.Failure {
		// Of an overlay only folders tell its device; files tell that of the layer they are in.
		folder := st.Mode&syscall.S_IFMT == syscall.S_IFDIR
		if folder && entries == 0 {
			device = uint64(st.Dev)
		}
		entries++
		if folder && uint64(st.Dev) != device {
			return skip
		}
		if st.Nlink > 1 && !folder {
			inode := [2]uint64{uint64(st.Dev), st.Ino}
			if linked[inode] {
				return nil
			}
			if len(linked) < maxLinked {
				linked[inode] = true
			}
		}
		disk += uint64(st.Blocks) * 512
		if st.Mode&syscall.S_IFMT == syscall.S_IFREG {
			apparent += uint64(st.Size)
		}
		return nil
	}, nil)
	if fail != nil {
		return fail
	}
	r.reply = wire.AppendUint(r.key("disk"), disk)
	r.reply = wire.AppendUint(r.key("apparent"), apparent)
	r.reply = wire.AppendUint(r.key("entries"), entries)
	return nil
}
