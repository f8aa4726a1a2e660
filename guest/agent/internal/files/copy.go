package files

import (
	"strings"
	"syscall"

	"microsandbox/agent/internal/failure"
)

// copy copies a file, a link or, with recursive, a folder. Modes are kept; owners and times with preserve. What is there is replaced
// only with overwrite, and a folder is never replaced: its files are added to.
func (r *request) copy() *failure.Failure {
	from, fail := r.path("path")
	if fail != nil {
		return fail
	}
	to, fail := r.path("to")
	if fail != nil {
		return fail
	}
	from, to = strings.TrimRight(from, "/"), strings.TrimRight(to, "/")
	if r.flag("follow") {
		if from, fail = resolved(from); fail != nil {
			return fail
		}
	}
	if to == from || strings.HasPrefix(to, from+"/") {
		return failure.New(failure.InvalidArgument, "cannot copy "+from+" into itself, "+to)
	}
	c := copier{preserve: r.flag("preserve"), overwrite: r.flag("overwrite")}
	var st syscall.Stat_t
	if err := syscall.Lstat(from, &st); err != nil {
		return cannot("look at", from, err)
	}
	if st.Mode&syscall.S_IFMT == syscall.S_IFDIR && !r.flag("recursive") {
		return failure.New(failure.InvalidArgument, "cannot copy "+from+": it is a directory, and recursive is not set")
	}
	target := func(path string) string { return to + path[len(from):] }
	return visit(from, &st, 0,
		func(path string, st *syscall.Stat_t) *failure.Failure { return c.make(path, target(path), st) },
		func(path string, st *syscall.Stat_t) *failure.Failure {
			// Times of a folder last: what was put into it has changed them.
			return c.finish(target(path), st)
		})
}

type copier struct{ preserve, overwrite bool }

func (c *copier) make(from, to string, st *syscall.Stat_t) *failure.Failure {
	kind := st.Mode & syscall.S_IFMT
	if kind == syscall.S_IFDIR {
		err := syscall.Mkdir(to, 0o700)
		var old syscall.Stat_t
		if err == syscall.EEXIST && syscall.Lstat(to, &old) == nil && old.Mode&syscall.S_IFMT == syscall.S_IFDIR {
			return nil
		}
		return cannot("make the folder", to, err)
	}
	if c.overwrite {
		if err := syscall.Unlink(to); err != nil && err != syscall.ENOENT {
			return cannot("replace", to, err)
		}
	}
	switch kind {
	case syscall.S_IFREG:
		return c.contents(from, to)
	case syscall.S_IFLNK:
		target, err := readLink(from)
		if err == nil {
			err = syscall.Symlink(target, to)
		}
		return cannot("make the link", to, err)
	case syscall.S_IFSOCK:
		return nil // without its process it is nothing
	}
	return cannot("make", to, syscall.Mknod(to, st.Mode, int(st.Rdev)))
}

// contents copies the bytes of a file, and its holes as holes.
func (c *copier) contents(from, to string) *failure.Failure {
	const seekData, seekHole = 3, 4
	in, fail := open(from, syscall.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if fail != nil {
		return fail
	}
	defer syscall.Close(in)
	var st syscall.Stat_t
	if err := syscall.Fstat(in, &st); err != nil {
		return cannot("look at", from, err)
	}
	out, fail := open(to, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL, 0o600)
	if fail != nil {
		return fail
	}
	defer syscall.Close(out)
	buffer := make([]byte, 256<<10)
	for at := int64(0); at < st.Size; {
		end := st.Size
		if start, err := syscall.Seek(in, at, seekData); err == syscall.ENXIO {
			break
		} else if err == nil {
			at = start
			if hole, err := syscall.Seek(in, at, seekHole); err == nil {
				end = min(hole, end)
			}
		}
		for at < end {
			n, err := syscall.Pread(in, buffer[:min(int64(len(buffer)), end-at)], at)
			if err == syscall.EINTR {
				continue
			}
			if err != nil {
				return cannot("read", from, err)
			}
			if n == 0 {
				break
			}
			for done := 0; done < n; {
				m, err := syscall.Pwrite(out, buffer[done:n], at+int64(done))
				if err != nil && err != syscall.EINTR {
					return cannot("write", to, err)
				}
				done += max(m, 0)
			}
			at += int64(n)
		}
		if at < end {
			break // it became shorter
		}
	}
	return cannot("write", to, syscall.Ftruncate(out, st.Size))
}

func (c *copier) finish(to string, st *syscall.Stat_t) *failure.Failure {
	var err error
	if c.preserve {
		err = syscall.Lchown(to, int(st.Uid), int(st.Gid))
	}
	kind := st.Mode & syscall.S_IFMT
	if err == nil && kind != syscall.S_IFLNK {
		err = syscall.Chmod(to, st.Mode&0o7777)
	}
	if err == nil && c.preserve {
		times := [2]syscall.Timespec{st.Atim, st.Mtim}
		err = setTimes(to, &times, true)
	}
	if kind == syscall.S_IFSOCK {
		return nil
	}
	return cannot("finish", to, err)
}
