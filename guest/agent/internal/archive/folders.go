package archive

import (
	"strings"
	"syscall"

	"microsandbox/agent/internal/failure"
)

// maxMade bounds the folders whose times are to be set at the end.
const maxMade = 1 << 20

// folders is the way down from the folder that a tar is put into, kept open: entries come in the order of a walk.
type folders struct {
	top int
	way []step
	// made are the folders that this run has made, by path: what the tar says of them counts. Those that were there stay as they are.
	made map[string]times
}

type step struct {
	name string
	fd   int
}

type times struct {
	set                  bool
	seconds, nanoseconds int64
}

// split makes the parts of a name in a tar: what leads out of the folder is refused, a leading slash dropped.
func split(path string) ([]string, error) {
	var parts []string
	for _, part := range strings.Split(path, "/") {
		switch part {
		case "", ".":
		case "..":
			return nil, failure.New(failure.InvalidArgument, "the tar has a name that leads out of the folder: "+path)
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) > maxDepth {
		return nil, failure.New(failure.Unsupported, "more than 512 folders in each other: "+path)
	}
	return parts, nil
}

// enter gives a folder below the top, open only as a place. What is missing is made, unless it must be there.
func (f *folders) enter(parts []string, create bool, own owners) (int, error) {
	same := 0
	for same < len(parts) && same < len(f.way) && parts[same] == f.way[same].name {
		same++
	}
	f.leave(same)
	for i := same; i < len(parts); i++ {
		fd, err := f.down(parts[:i+1], create, own)
		if err != nil {
			return 0, err
		}
		f.way = append(f.way, step{parts[i], fd})
	}
	return f.here(), nil
}

func (f *folders) down(parts []string, create bool, own owners) (int, error) {
	const flags = openPath | syscall.O_DIRECTORY | syscall.O_NOFOLLOW | syscall.O_CLOEXEC
	name, path := parts[len(parts)-1], strings.Join(parts, "/")
	fd, err := openAt(f.here(), name, flags, 0)
	if err == syscall.ENOENT && create {
		// Its own entry may follow, and says then what it is like.
		if err = f.make(path, name, 0o755, own.uid, own.gid); err == nil {
			fd, err = openAt(f.here(), name, flags, 0)
		}
	}
	if err == syscall.ENOTDIR {
		return 0, failure.New(failure.InvalidArgument, "cannot put anything into "+path+": it is a link or a file, not a folder")
	}
	if err != nil {
		return 0, failure.Of("cannot open "+path, err)
	}
	return fd, nil
}

// make makes a folder here.
func (f *folders) make(path, name string, mode, uid, gid uint32) error {
	if len(f.made) >= maxMade {
		return failure.New(failure.ResourceExhausted, "more than 1,048,576 new folders in one tar")
	}
	if err := syscall.Mkdirat(f.here(), name, mode); err != nil {
		return err
	}
	f.made[path] = times{}
	return setOwnerAt(f.here(), name, uid, gid)
}

// here is the deepest folder of the way.
func (f *folders) here() int {
	if n := len(f.way); n > 0 {
		return f.way[n-1].fd
	}
	return f.top
}

// leave goes back up to a depth.
func (f *folders) leave(depth int) {
	for ; len(f.way) > depth; f.way = f.way[:len(f.way)-1] {
		syscall.Close(f.here())
	}
}

// finish sets the times of what was made, which everything that was put there has changed. What is gone by then is left.
func (f *folders) finish() {
	for path, t := range f.made {
		if !t.set {
			continue
		}
		parts := strings.Split(path, "/")
		if fd, err := f.enter(parts[:len(parts)-1], false, owners{}); err == nil {
			_ = setTimesAt(fd, parts[len(parts)-1], t.seconds, t.nanoseconds)
		}
	}
	f.leave(0)
}
