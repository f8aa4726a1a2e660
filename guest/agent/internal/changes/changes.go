// Package changes reads back what a sandbox has written on top of its image: the upper directory of its overlay, as the tar of
// an OCI layer. It runs in a process of its own, which the agent starts from its own executable: the walk blocks, and PID 1
// must not.
//
// The tree is the guest's own and may be anything; nothing is followed out of it, since the process confines itself to it
// (chroot) before it looks at a name. What other processes change meanwhile may be in the tar or not, and never breaks it.
package changes

import (
	"os"
	"strings"
	"syscall"

	"microsandbox/agent/internal/entries"
	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/tar"
)

const (
	// Directory is the descriptor of the directory that holds the overlay's upper directory.
	Directory = 3

	upper = "upper"

	// How overlayfs marks what hides the lower layers (Documentation/filesystems/overlayfs.rst), and how OCI does (layer.md).
	opaqueXattr    = "trusted.overlay.opaque"
	overlayXattrs  = "trusted.overlay."
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
)

// platform is what the agent itself puts into a sandbox's root: mount points, and what tells a sandbox who it is.
var platform = map[string]bool{
	"proc": true, "sys": true, "dev": true, "run": true,
	"etc/hostname": true, "etc/hosts": true, "etc/machine-id": true, "etc/resolv.conf": true,
}

// Run writes the layer to stdout and returns the exit code; what went wrong is on stderr.
func Run() int {
	if err := syscall.Fchdir(Directory); err == nil {
		err = syscall.Chroot(upper)
		if err == nil {
			err = syscall.Chdir("/")
		}
		if err != nil {
			return complain(failure.Describe("enter the upper directory", err))
		}
	} else {
		return complain(failure.Describe("enter the upper file system", err))
	}
	out := tar.NewWriter(1)
	w := walker{out: out, links: make(map[uint64]string)}
	if err := w.walk(""); err != nil {
		return complain(err.Error())
	}
	if err := out.Close(); err != nil {
		return complain(failure.Describe("write the layer", err))
	}
	return 0
}

func complain(message string) int {
	os.Stderr.WriteString(message + "\n")
	return 1
}

type walker struct {
	out *tar.Writer
	// links are the first names of files that have several, by inode.
	links map[uint64]string
}

// walk writes what is in a directory, which has been written itself, in the order of the names' bytes: the same tree gives the
// same tar.
func (w *walker) walk(dir string) error {
	names, err := list("/" + dir)
	if err != nil {
		return failed("list", dir, err)
	}
	for _, name := range names {
		path := name
		if dir != "" {
			path = dir + "/" + name
		}
		if platform[path] {
			continue
		}
		if err := w.entry(dir, name, path); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(dir, name, path string) error {
	var st syscall.Stat_t
	if err := syscall.Lstat("/"+path, &st); err != nil {
		return gone(failed("look at", path, err), err)
	}
	kind := st.Mode & syscall.S_IFMT
	if kind == syscall.S_IFCHR && st.Rdev == 0 {
		hidden := whiteoutPrefix + name
		if dir != "" {
			hidden = dir + "/" + hidden
		}
		return w.out.Mark(hidden)
	}
	if strings.HasPrefix(name, whiteoutPrefix) {
		return failure.New(failure.InvalidArgument, path+": layers cannot hold a file whose name begins with "+whiteoutPrefix)
	}
	if kind == syscall.S_IFSOCK {
		return nil // a socket without its process is nothing
	}
	xattrs, opaque, err := attributes("/" + path)
	if err != nil {
		return gone(failed("read the attributes of", path, err), err)
	}
	e := tar.Entry{
		Path: path, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
		Seconds: int64(st.Mtim.Sec), Nanoseconds: int64(st.Mtim.Nsec), Xattrs: xattrs,
	}
	if kind != syscall.S_IFDIR && uint64(st.Nlink) > 1 {
		if first, ok := w.links[st.Ino]; ok {
			e.Kind, e.Target, e.Xattrs = tar.TypeLink, first, nil
			return w.out.Header(&e)
		}
		w.links[st.Ino] = path
	}
	switch kind {
	case syscall.S_IFREG:
		e.Kind = tar.TypeFile
		return w.file(&e)
	case syscall.S_IFLNK:
		e.Kind = tar.TypeSymlink
		if e.Target, err = os.Readlink("/" + path); err != nil {
			return gone(failed("read the link", path, err), err)
		}
	case syscall.S_IFCHR, syscall.S_IFBLK:
		e.Kind = tar.TypeChar
		if kind == syscall.S_IFBLK {
			e.Kind = tar.TypeBlock
		}
		rdev := uint64(st.Rdev)
		e.Major = uint32(rdev>>8&0xfff | rdev>>32&^0xfff)
		e.Minor = uint32(rdev&0xff | rdev>>12&^0xff)
	case syscall.S_IFIFO:
		e.Kind = tar.TypeFifo
	case syscall.S_IFDIR:
		e.Kind = tar.TypeDirectory
		if err := w.out.Header(&e); err != nil {
			return err
		}
		if opaque {
			if err := w.out.Mark(path + "/" + opaqueName); err != nil {
				return err
			}
		}
		return w.walk(path)
	}
	return w.out.Header(&e)
}

func (w *walker) file(e *tar.Entry) error {
	fd, err := syscall.Open("/"+e.Path, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return gone(failed("open", e.Path, err), err)
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return failed("look at", e.Path, err)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil // it became something else meanwhile
	}
	e.Size = st.Size
	if st.Blocks*512 < st.Size {
		e.Extents = tar.Holes(fd, st.Size)
	}
	if err := w.out.Header(e); err != nil {
		return err
	}
	return w.out.Contents(fd, e)
}

func list(dir string) ([]string, error) {
	fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	return entries.Names(fd)
}

// gone takes what vanished between two looks at it for what was never there.
func gone(fail error, err error) error {
	if err == syscall.ENOENT {
		return nil
	}
	return fail
}

func failed(what, path string, err error) error {
	return failure.New(failure.Internal, failure.Describe(what+" /"+path, err))
}
