package archive

import (
	"strings"
	"syscall"

	"microsandbox/agent/internal/entries"
	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/kernelfs"
	"microsandbox/agent/internal/tar"
)

// packer writes a tree in the order of the names' bytes: the same tree gives the same tar.
type packer struct {
	out *tar.Writer
	// links are the first names of files that have several, by device and inode.
	links map[[2]uint64]string
}

// maxLinks bounds the files of several names that are remembered; the next are written whole for each name.
const maxLinks = 1 << 20

// pack writes what a path leads to, with names from its last one on. A link is written itself, unless it is to be followed or the path
// ends in a slash or a dot: then it must be a folder.
func pack(out *tar.Writer, path string, follow bool) error {
	p := packer{out: out, links: make(map[[2]uint64]string)}
	dir, name := "/", "."
	asFolder := strings.HasSuffix(path, "/")
	if trimmed := strings.TrimRight(path, "/"); trimmed != "" {
		slash := strings.LastIndexByte(trimmed, '/')
		dir, name = trimmed[:slash+1], trimmed[slash+1:]
		if name == ".." {
			dir, name = trimmed, "."
		}
		asFolder = asFolder || name == "."
	}
	flags := syscall.O_RDONLY | syscall.O_CLOEXEC | syscall.O_DIRECTORY
	parent, err := open(dir, flags)
	if err != nil {
		return failure.Of("cannot read "+path, err)
	}
	defer syscall.Close(parent)
	st, err := statAt(parent, name, follow || asFolder)
	if err != nil {
		return failure.Of("cannot read "+path, err)
	}
	if st.Mode&syscall.S_IFMT == syscall.S_IFSOCK {
		return failure.New(failure.InvalidArgument, "cannot read "+path+": a socket cannot be in a tar")
	}
	if asFolder && st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return failure.Of("cannot read "+path, syscall.ENOTDIR)
	}
	if err := p.entry(parent, name, name, st, follow || asFolder, place{}); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return failure.Of("write the tar", err)
	}
	return nil
}

// entry writes one file, which is name in a folder and path in the tar.
func (p *packer) entry(dir int, name, path string, st *syscall.Stat_t, follow bool, in place) error {
	kind := st.Mode & syscall.S_IFMT
	flags := syscall.O_RDONLY | syscall.O_NONBLOCK | syscall.O_CLOEXEC
	if !follow {
		flags |= syscall.O_NOFOLLOW
	}
	switch kind {
	case syscall.S_IFSOCK:
		return nil // a socket without its process is nothing
	case syscall.S_IFDIR:
		flags |= syscall.O_DIRECTORY
	case syscall.S_IFREG:
	default:
		return p.special(dir, name, describe(path, st))
	}
	if kind == syscall.S_IFREG {
		if first := p.linked(st, path); first != "" {
			e := describe(path, st)
			e.Kind, e.Target = tar.TypeLink, first
			return p.out.Header(e)
		}
	}
	fd, err := openAt(dir, name, flags, 0)
	if err != nil {
		return gone("open "+path, err)
	}
	defer syscall.Close(fd)
	// What counts is what was opened.
	if err := syscall.Fstat(fd, st); err != nil {
		return failure.Of("look at "+path, err)
	}
	if st.Mode&syscall.S_IFMT != kind {
		return nil // it became something else meanwhile
	}
	e := describe(path, st)
	if e.Xattrs, err = attributes(fd); err != nil {
		return failure.Of("read the attributes of "+path, err)
	}
	if kind == syscall.S_IFDIR {
		return p.folder(fd, e, st, in)
	}
	e.Kind, e.Size = tar.TypeFile, st.Size
	if st.Blocks*512 < st.Size {
		e.Extents = tar.Holes(fd, st.Size)
	}
	if err := p.out.Header(e); err != nil {
		return err
	}
	return p.out.Contents(fd, e)
}

// place is where an entry lies: how deep, and in a folder of which device.
type place struct {
	depth  int
	device uint64
}

func (p *packer) folder(fd int, e *tar.Entry, st *syscall.Stat_t, in place) error {
	e.Kind = tar.TypeDirectory
	if in.depth >= maxDepth {
		return failure.New(failure.Unsupported, "more than 512 folders in each other: "+e.Path)
	}
	if err := p.out.Header(e); err != nil {
		return err
	}
	if uint64(st.Dev) != in.device && kernelfs.MadeUp(fd) {
		return nil
	}
	below := place{in.depth + 1, uint64(st.Dev)}
	names, err := entries.Names(fd)
	if err != nil {
		return failure.Of("list "+e.Path, err)
	}
	for _, name := range names {
		st, err := statAt(fd, name, false)
		if err == nil {
			err = p.entry(fd, name, e.Path+"/"+name, st, false, below)
		} else {
			err = gone("look at "+e.Path+"/"+name, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// special writes what has no contents.
func (p *packer) special(dir int, name string, e *tar.Entry) error {
	switch {
	case e.Kind == tar.TypeSymlink:
		target, err := readLinkAt(dir, name)
		if err != nil {
			return gone("read the link "+e.Path, err)
		}
		e.Target = target
	case e.Kind == 0:
		return failure.New(failure.Unsupported, "a file of an unknown type: "+e.Path)
	}
	return p.out.Header(e)
}

// linked gives the first name of a file, if this is another one, and remembers it otherwise.
func (p *packer) linked(st *syscall.Stat_t, path string) string {
	if st.Nlink < 2 {
		return ""
	}
	inode := [2]uint64{uint64(st.Dev), st.Ino}
	first, ok := p.links[inode]
	if !ok && len(p.links) < maxLinks {
		p.links[inode] = path
	}
	return first
}

func describe(path string, st *syscall.Stat_t) *tar.Entry {
	e := &tar.Entry{
		Path: path, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
		Seconds: int64(st.Mtim.Sec), Nanoseconds: int64(st.Mtim.Nsec),
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		e.Kind = tar.TypeSymlink
	case syscall.S_IFIFO:
		e.Kind = tar.TypeFifo
	case syscall.S_IFCHR:
		e.Kind = tar.TypeChar
		e.Major, e.Minor = numbersOf(uint64(st.Rdev))
	case syscall.S_IFBLK:
		e.Kind = tar.TypeBlock
		e.Major, e.Minor = numbersOf(uint64(st.Rdev))
	}
	return e
}

// gone takes what vanished between two looks at it for what was never there.
func gone(what string, err error) error {
	if err == syscall.ENOENT || err == syscall.ELOOP || err == syscall.ENOTDIR {
		return nil
	}
	return failure.Of("cannot "+what, err)
}
