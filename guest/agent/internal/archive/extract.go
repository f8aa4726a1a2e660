package archive

import (
	"strings"
	"syscall"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/tar"
)

// extractor puts entries in place.
type extractor struct {
	in  *tar.Reader
	own owners
	folders
}

// extract puts what a tar holds below a folder that exists. A file in the way of a file is removed first, so that a program that
// runs from it is not disturbed; one in the way of a folder, and a folder in the way of a file, end it. What was put in place before
// an error stays.
func extract(in *tar.Reader, path string, own owners) error {
	top, err := open(path, openPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC)
	if err != nil {
		return failure.Of("cannot put files into "+path, err)
	}
	defer syscall.Close(top)
	defer syscall.Umask(syscall.Umask(0))
	x := extractor{in: in, own: own, folders: folders{top: top, made: make(map[string]times)}}
	for {
		e, err := in.Next()
		if err != nil {
			return err
		}
		if e == nil {
			break
		}
		if err := x.put(e); err != nil {
			return err
		}
	}
	x.finish()
	return in.Drain()
}

func (x *extractor) put(e *tar.Entry) error {
	parts, err := split(e.Path)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		if e.Kind == tar.TypeDirectory {
			return nil // the folder itself, which is there
		}
		return failure.New(failure.InvalidArgument, "the tar has a file without a name")
	}
	if !x.own.keep {
		e.UID, e.GID = x.own.uid, x.own.gid
	}
	// The target of a hard link is looked up first: the way to where the link goes is to stay open.
	var target int
	var targetName string
	if e.Kind == tar.TypeLink {
		if target, targetName, err = x.target(e); err != nil || target < 0 {
			return err
		}
		defer syscall.Close(target)
	}
	name := parts[len(parts)-1]
	dir, err := x.enter(parts[:len(parts)-1], true, x.own)
	if err != nil {
		return err
	}
	switch e.Kind {
	case tar.TypeDirectory:
		return x.directory(dir, name, parts, e)
	case tar.TypeFile:
		return x.file(dir, name, e)
	case tar.TypeLink:
		return replacing(dir, name, e, func() error { return linkAt(target, targetName, dir, name) })
	case tar.TypeSymlink:
		if err := replacing(dir, name, e, func() error { return symlinkAt(e.Target, dir, name) }); err != nil {
			return err
		}
		return cannot("set the attributes of", e, firstOf(
			setOwnerAt(dir, name, e.UID, e.GID), setTimesAt(dir, name, e.Seconds, e.Nanoseconds)))
	}
	return x.special(dir, name, e)
}

// target opens the folder of what a hard link leads to; below zero: the entry links to itself, and is done.
func (x *extractor) target(e *tar.Entry) (int, string, error) {
	parts, err := split(e.Target)
	if err != nil {
		return 0, "", err
	}
	if len(parts) == 0 {
		return 0, "", failure.New(failure.InvalidArgument, "the tar has a hard link to a folder: "+e.Path)
	}
	if own, _ := split(e.Path); len(own) == len(parts) {
		same := true
		for i := range own {
			same = same && own[i] == parts[i]
		}
		if same {
			return -1, "", nil
		}
	}
	dir, err := x.enter(parts[:len(parts)-1], false, owners{})
	if err != nil {
		return 0, "", err
	}
	name := parts[len(parts)-1]
	// Whatever stands where the link goes is removed: not for nothing.
	if _, err := statAt(dir, name, false); err != nil {
		return 0, "", failure.Of("cannot link "+e.Path+" to "+e.Target, err)
	}
	fd, err := openAt(dir, ".", openPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	return fd, name, cannot("open the folder of", e, err)
}

func (x *extractor) directory(dir int, name string, parts []string, e *tar.Entry) error {
	path := strings.Join(parts, "/")
	if _, ours := x.made[path]; !ours {
		st, err := statAt(dir, name, false)
		if err == nil {
			if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
				return failure.New(failure.AlreadyExists, "cannot make the folder "+path+": there is something else of that name")
			}
			return nil
		}
		if err != syscall.ENOENT {
			return cannot("make", e, err)
		}
		if err := x.make(path, name, e.Mode, e.UID, e.GID); err != nil {
			return cannot("make", e, err)
		}
	}
	x.made[path] = times{true, e.Seconds, e.Nanoseconds}
	fd, err := openAt(dir, name, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return cannot("open", e, err)
	}
	defer syscall.Close(fd)
	return cannot("set the attributes of", e, firstOf(
		syscall.Fchown(fd, int(e.UID), int(e.GID)), syscall.Fchmod(fd, e.Mode), setAttributes(fd, e.Xattrs)))
}

func (x *extractor) file(dir int, name string, e *tar.Entry) error {
	const flags = syscall.O_WRONLY | syscall.O_CREAT | syscall.O_EXCL | syscall.O_NOFOLLOW | syscall.O_CLOEXEC
	// A new file is mostly root's: what it is made with need not be changed, and each change counts with many small files.
	mode := uint32(0o600)
	if e.UID == 0 && e.GID == 0 {
		mode = e.Mode & 0o777
	}
	fd := -1
	err := replacing(dir, name, e, func() (err error) {
		fd, err = openAt(dir, name, flags, mode)
		return err
	})
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	err = x.in.Contents(e, func(piece []byte, at int64) error {
		for len(piece) > 0 {
			n, err := syscall.Pwrite(fd, piece, at)
			if err == syscall.EINTR {
				continue
			}
			if err != nil {
				return cannot("write", e, err)
			}
			piece, at = piece[n:], at+int64(n)
		}
		return nil
	})
	if err == nil && e.Extents != nil {
		err = cannot("write", e, syscall.Ftruncate(fd, e.Size)) // it may end in a hole
	}
	if err != nil {
		return err
	}
	// A folder may give its group and its access list to what is made in it.
	var st syscall.Stat_t
	err = syscall.Fstat(fd, &st)
	if err == nil && (st.Uid != e.UID || st.Gid != e.GID || st.Mode&0o7777 != e.Mode) {
		// In this order: another owner takes set-uid and capabilities away.
		err = firstOf(syscall.Fchown(fd, int(e.UID), int(e.GID)), syscall.Fchmod(fd, e.Mode))
	}
	return cannot("set the attributes of", e, firstOf(
		err, setAttributes(fd, e.Xattrs), setTimesAt(fd, "", e.Seconds, e.Nanoseconds)))
}

// special makes devices and pipes.
func (x *extractor) special(dir int, name string, e *tar.Entry) error {
	mode, device := e.Mode, 0
	switch e.Kind {
	case tar.TypeFifo:
		mode |= syscall.S_IFIFO
	case tar.TypeChar:
		mode, device = mode|syscall.S_IFCHR, int(deviceOf(e.Major, e.Minor))
	case tar.TypeBlock:
		mode, device = mode|syscall.S_IFBLK, int(deviceOf(e.Major, e.Minor))
	}
	if err := replacing(dir, name, e, func() error { return syscall.Mknodat(dir, name, mode, device) }); err != nil {
		return err
	}
	return cannot("set the attributes of", e, firstOf(
		setOwnerAt(dir, name, e.UID, e.GID), setTimesAt(dir, name, e.Seconds, e.Nanoseconds)))
}

// replacing makes something, in place of a file that is there.
func replacing(dir int, name string, e *tar.Entry, create func() error) error {
	err := create()
	if err == syscall.EEXIST {
		st, statErr := statAt(dir, name, false)
		if statErr == nil && st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
			return failure.New(failure.AlreadyExists, "cannot make "+e.Path+": there is a folder of that name")
		}
		if err = syscall.Unlinkat(dir, name); err == nil || err == syscall.ENOENT {
			err = create()
		}
	}
	return cannot("make", e, err)
}

func cannot(what string, e *tar.Entry, err error) error {
	if err == nil {
		return nil
	}
	if fail, ok := err.(*failure.Failure); ok {
		return fail
	}
	return failure.Of("cannot "+what+" "+e.Path, err)
}

func firstOf(errors ...error) error {
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}
