package files

import (
	"strings"
	"syscall"
	"unsafe"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/wire"
)

var kinds = map[uint32]string{
	syscall.S_IFREG: "file", syscall.S_IFDIR: "directory", syscall.S_IFLNK: "symlink", syscall.S_IFCHR: "char",
	syscall.S_IFBLK: "block", syscall.S_IFIFO: "fifo", syscall.S_IFSOCK: "socket",
}

func kindOf(mode uint32) string { return "a " + kinds[mode&syscall.S_IFMT] }

// statPairs is how many pairs appendFields appends.
const statPairs = 11

func appendFields(b []byte, st *syscall.Stat_t) []byte {
	b = wire.AppendText(wire.AppendText(b, "type"), kinds[st.Mode&syscall.S_IFMT])
	for _, field := range [...]struct {
		name  string
		value uint64
	}{
		{"size", uint64(st.Size)}, {"mode", uint64(st.Mode & 0o7777)}, {"uid", uint64(st.Uid)}, {"gid", uint64(st.Gid)},
		{"links", uint64(st.Nlink)}, {"inode", st.Ino}, {"blocks", uint64(st.Blocks)},
	} {
		b = wire.AppendUint(wire.AppendText(b, field.name), field.value)
	}
	for _, field := range [...]struct {
		name string
		time syscall.Timespec
	}{{"mtime", st.Mtim}, {"atime", st.Atim}, {"ctime", st.Ctim}} {
		b = wire.AppendArray(wire.AppendText(b, field.name), 2)
		b = wire.AppendUint(wire.AppendInt(b, int64(field.time.Sec)), uint64(field.time.Nsec))
	}
	return b
}

func (r *request) appendStat(st *syscall.Stat_t, target string) {
	r.reply = appendFields(r.reply, st)
	r.pairs += statPairs
	if target != "" {
		r.reply = wire.AppendBytes(r.key("target"), []byte(target))
	}
}

func (r *request) stat() *failure.Failure {
	path, fail := r.path("path")
	if fail != nil {
		return fail
	}
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return cannot("look at", path, err)
	}
	r.appendStat(&st, "")
	return nil
}

func (r *request) lstat() *failure.Failure {
	path, fail := r.path("path")
	if fail != nil {
		return fail
	}
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return cannot("look at", path, err)
	}
	target := ""
	if st.Mode&syscall.S_IFMT == syscall.S_IFLNK {
		target, _ = readLink(path)
	}
	r.appendStat(&st, target)
	return nil
}

func (r *request) readlink() *failure.Failure {
	path, fail := r.path("path")
	if fail != nil {
		return fail
	}
	target, err := readLink(path)
	if err != nil {
		return cannot("read the link", path, err)
	}
	r.reply = wire.AppendBytes(r.key("target"), []byte(target))
	return nil
}

func readLink(path string) (string, error) {
	b := make([]byte, maxPath)
	n, err := syscall.Readlink(path, b)
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

func (r *request) symlink() *failure.Failure {
	path, fail := r.path("path")
	if fail != nil {
		return fail
	}
	target, ok := r.Get("target").Bytes()
	if !ok || len(target) == 0 || len(target) >= maxPath || strings.IndexByte(string(target), 0) >= 0 {
		return failure.New(failure.InvalidArgument, "target: not a path of at most 4,095 bytes")
	}
	return cannot("make the link", path, syscall.Symlink(string(target), path))
}

func (r *request) rename() *failure.Failure {
	from, fail := r.path("path")
	if fail != nil {
		return fail
	}
	to, fail := r.path("to")
	if fail != nil {
		return fail
	}
	return cannot("rename "+from+" to", to, syscall.Rename(from, to))
}

func (r *request) chmod() *failure.Failure {
	mode, fail := r.number("mode", 0o7777, 1<<32)
	if fail != nil || mode > 0o7777 {
		return failure.New(failure.InvalidArgument, "mode: not a number up to 0o7777")
	}
	return r.eachBelow("change the mode of", func(path string, st *syscall.Stat_t) error {
		if st.Mode&syscall.S_IFMT == syscall.S_IFLNK {
			return nil // a link has no mode
		}
		return syscall.Chmod(path, uint32(mode))
	})
}

func (r *request) chown() *failure.Failure {
	spec, _ := r.Get("owner").Text()
	uid, gid, fail := owner(spec)
	if fail != nil {
		return fail
	}
	return r.eachBelow("change the owner of", func(path string, _ *syscall.Stat_t) error {
		return syscall.Lchown(path, uid, gid)
	})
}

// eachBelow changes what path leads to and, with recursive, all below it; links below are not followed.
func (r *request) eachBelow(what string, change func(string, *syscall.Stat_t) error) *failure.Failure {
	path, fail := r.path("path")
	if fail != nil {
		return fail
	}
	if !r.flag("nofollow") {
		if path, fail = resolved(path); fail != nil {
			return fail
		}
	}
	if !r.flag("recursive") {
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return cannot(what, path, err)
		}
		return cannot(what, path, change(path, &st))
	}
	return walk(path, func(path string, st *syscall.Stat_t) *failure.Failure {
		return cannot(what, path, change(path, st))
	}, nil)
}

// resolved follows links at the end of a path.
func resolved(path string) (string, *failure.Failure) {
	for range 40 {
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return "", cannot("look at", path, err)
		}
		if st.Mode&syscall.S_IFMT != syscall.S_IFLNK {
			return path, nil
		}
		target, err := readLink(path)
		if err != nil {
			return "", cannot("read the link", path, err)
		}
		if strings.HasPrefix(target, "/") {
			path = target
		} else {
			path = path[:strings.LastIndexByte(strings.TrimRight(path, "/"), '/')+1] + target
		}
	}
	return "", cannot("follow", path, syscall.ELOOP)
}

func (r *request) truncate() *failure.Failure {
	path, fail := r.path("path")
	if fail != nil {
		return fail
	}
	size, fail := r.number("size", 1<<62, 0)
	if fail != nil {
		return fail
	}
	fd, fail := open(path, syscall.O_WRONLY, 0)
	if fail != nil {
		return fail
	}
	defer syscall.Close(fd)
	return cannot("truncate", path, syscall.Ftruncate(fd, int64(size)))
}

// utimes sets times; one that is not given stays.
func (r *request) utimes() *failure.Failure {
	path, fail := r.path("path")
	if fail != nil {
		return fail
	}
	times := [2]syscall.Timespec{{Nsec: utimeOmit}, {Nsec: utimeOmit}}
	for i, key := range [2]string{"atime", "mtime"} {
		if item := r.Get(key); item.Kind() != wire.Absent {
			if item.Len() != 2 {
				return failure.New(failure.InvalidArgument, key+": not seconds and nanoseconds")
			}
			seconds, ok1 := item.First().Int()
			nanoseconds, ok2 := item.First().Next().Uint()
			if !ok1 || !ok2 || nanoseconds >= 1e9 {
				return failure.New(failure.InvalidArgument, key+": not seconds and nanoseconds")
			}
			times[i] = syscall.Timespec{Sec: seconds, Nsec: int64(nanoseconds)}
		}
	}
	return cannot("set the times of", path, setTimes(path, &times, r.flag("nofollow")))
}

const (
	atCwd     = -0x64
	noFollow  = 0x100
	utimeOmit = 1<<30 - 2
)

func setTimes(path string, times *[2]syscall.Timespec, nofollow bool) error {
	p, err := syscall.BytePtrFromString(path)
	if err != nil {
		return err
	}
	flags, cwd := uintptr(0), atCwd
	if nofollow {
		flags = noFollow
	}
	_, _, errno := syscall.Syscall6(syscall.SYS_UTIMENSAT, uintptr(cwd), uintptr(unsafe.Pointer(p)),
		uintptr(unsafe.Pointer(times)), flags, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
