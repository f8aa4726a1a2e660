package archive

import (
	"sort"
	"strings"
	"syscall"
	"unsafe"

	"microsandbox/agent/internal/tar"
)

// System calls about a name in a folder, none of which follows a link unless told to. Those that the syscall package lacks are here.

const (
	atNoFollow = 0x100   // AT_SYMLINK_NOFOLLOW
	openPath   = 1 << 21 // O_PATH
)

func open(path string, flags int) (int, error) {
	for {
		fd, err := syscall.Open(path, flags, 0)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

func openAt(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := syscall.Openat(dir, name, flags, mode)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

func statAt(dir int, name string, follow bool) (*syscall.Stat_t, error) {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return nil, err
	}
	flags := uintptr(atNoFollow)
	if follow {
		flags = 0
	}
	var st syscall.Stat_t
	_, _, errno := syscall.Syscall6(sysFstatat, uintptr(dir), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&st)), flags, 0, 0)
	return &st, asError(errno)
}

func readLinkAt(dir int, name string) (string, error) {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return "", err
	}
	b := make([]byte, maxPath)
	n, _, errno := syscall.Syscall6(syscall.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&b[0])),
		uintptr(len(b)), 0, 0)
	if errno != 0 {
		return "", errno
	}
	return string(b[:n]), nil
}

func symlinkAt(target string, dir int, name string) error {
	t, err1 := syscall.BytePtrFromString(target)
	p, err2 := syscall.BytePtrFromString(name)
	if err1 != nil || err2 != nil {
		return syscall.EINVAL
	}
	_, _, errno := syscall.Syscall(syscall.SYS_SYMLINKAT, uintptr(unsafe.Pointer(t)), uintptr(dir), uintptr(unsafe.Pointer(p)))
	return asError(errno)
}

func linkAt(from int, name string, to int, as string) error {
	t, err1 := syscall.BytePtrFromString(name)
	p, err2 := syscall.BytePtrFromString(as)
	if err1 != nil || err2 != nil {
		return syscall.EINVAL
	}
	_, _, errno := syscall.Syscall6(syscall.SYS_LINKAT, uintptr(from), uintptr(unsafe.Pointer(t)), uintptr(to), uintptr(unsafe.Pointer(p)), 0, 0)
	return asError(errno)
}

// setOwnerAt is about a name, or about the descriptor itself if that is empty.
func setOwnerAt(dir int, name string, uid, gid uint32) error {
	return syscall.Fchownat(dir, name, int(uid), int(gid), atNoFollow)
}

// setTimesAt sets both times of a name in a folder; without a name, of what the descriptor is open for.
func setTimesAt(fd int, name string, seconds, nanoseconds int64) error {
	var p *byte
	flags := uintptr(0)
	if name != "" {
		var err error
		if p, err = syscall.BytePtrFromString(name); err != nil {
			return err
		}
		flags = atNoFollow
	}
	times := [2]syscall.Timespec{{Sec: seconds, Nsec: nanoseconds}, {Sec: seconds, Nsec: nanoseconds}}
	_, _, errno := syscall.Syscall6(syscall.SYS_UTIMENSAT, uintptr(fd), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&times)), flags, 0, 0)
	return asError(errno)
}

// kept says which attributes travel: those of users, and what a program may do. The others belong to the machine.
func kept(name string) bool { return name == "security.capability" || strings.HasPrefix(name, "user.") }

// maxXattr is the kernel's bound for the names of a file, and for one value.
const maxXattr = 64 << 10

// xattrBuffer is made when it is first needed: PID 1 has this package too, and never needs it.
var xattrBuffer []byte

// attributes are the extended ones of an open file that travel, sorted.
func attributes(fd int) ([]tar.Xattr, error) {
	if xattrBuffer == nil {
		xattrBuffer = make([]byte, maxXattr)
	}
	n, _, errno := syscall.Syscall(syscall.SYS_FLISTXATTR, uintptr(fd), uintptr(unsafe.Pointer(&xattrBuffer[0])), maxXattr)
	if errno == syscall.ENOTSUP || n == 0 && errno == 0 {
		return nil, nil
	}
	if errno != 0 {
		return nil, errno
	}
	var found []tar.Xattr
	for _, name := range strings.Split(string(xattrBuffer[:n]), "\x00") {
		if !kept(name) {
			continue
		}
		p, err := syscall.BytePtrFromString(name)
		if err != nil {
			return nil, err
		}
		n, _, errno := syscall.Syscall6(syscall.SYS_FGETXATTR, uintptr(fd), uintptr(unsafe.Pointer(p)),
			uintptr(unsafe.Pointer(&xattrBuffer[0])), maxXattr, 0, 0)
		if errno == syscall.ENODATA {
			continue
		}
		if errno != 0 {
			return nil, errno
		}
		found = append(found, tar.Xattr{Name: name, Value: string(xattrBuffer[:n])})
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Name < found[j].Name })
	return found, nil
}

// setAttributes sets those that travel; a file system without any goes without.
func setAttributes(fd int, all []tar.Xattr) error {
	for _, x := range all {
		if !kept(x.Name) {
			continue
		}
		p, err := syscall.BytePtrFromString(x.Name)
		if err != nil {
			return err
		}
		value := append([]byte(x.Value), 0)
		_, _, errno := syscall.Syscall6(syscall.SYS_FSETXATTR, uintptr(fd), uintptr(unsafe.Pointer(p)),
			uintptr(unsafe.Pointer(&value[0])), uintptr(len(x.Value)), 0, 0)
		if errno != 0 && errno != syscall.ENOTSUP {
			return errno
		}
	}
	return nil
}

// numbersOf and deviceOf are glibc's gnu_dev_major, gnu_dev_minor and gnu_dev_makedev.
func numbersOf(device uint64) (major, minor uint32) {
	return uint32(device>>8&0xfff | device>>32&^0xfff), uint32(device&0xff | device>>12&^0xff)
}

func deviceOf(major, minor uint32) uint64 {
	a, b := uint64(major), uint64(minor)
	return b&0xff | a&0xfff<<8 | b&^0xff<<12 | a&^0xfff<<32
}

func asError(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
