package root

import (
	"syscall"
	"unsafe"
)

const (
	oPath      = 0x200000           // O_PATH
	openat2    = 437                // the same number on every architecture
	noCrossing = 0x01 | 0x02 | 0x04 // RESOLVE_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS
	harmless   = syscall.O_CLOEXEC | syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_NOCTTY
)

// openHow is struct open_how, openat2(2).
type openHow struct{ flags, mode, resolve uint64 }

// openOwn opens a file of the root itself: neither links nor mounts lead elsewhere, where PID 1 might wait for ever. -1:
// there is none.
func openOwn(path string, access uint64) int {
	fd, errno := openat2Own(path, access)
	if errno != 0 {
		return -1
	}
	return fd
}

// Missing says whether there is surely nothing at a path. What lies behind a link or a mount may be there: to look would
// be to wait for whoever serves it.
func Missing(path string) bool {
	fd, errno := openat2Own(path, oPath)
	if errno == 0 {
		_ = syscall.Close(fd)
	}
	return errno == syscall.ENOENT
}

func openat2Own(path string, access uint64) (int, syscall.Errno) {
	name, err := syscall.BytePtrFromString(path)
	if err != nil {
		return -1, syscall.EINVAL
	}
	const cwd = -100 // AT_FDCWD
	dir := cwd
	how := openHow{flags: access | harmless, resolve: noCrossing}
	if access&oPath != 0 {
		// With others it is EINVAL.
		how.flags = access | syscall.O_CLOEXEC | syscall.O_NOFOLLOW
	}
	fd, _, errno := syscall.Syscall6(openat2, uintptr(dir), uintptr(unsafe.Pointer(name)),
		uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
	return int(fd), errno
}
