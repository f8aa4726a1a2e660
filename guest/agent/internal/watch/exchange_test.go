package watch

import (
	"runtime"
	"syscall"
	"unsafe"
)

// exchange has two names change places (renameat2 with RENAME_EXCHANGE).
func exchange(a, b string) error {
	from, _ := syscall.BytePtrFromString(a)
	to, _ := syscall.BytePtrFromString(b)
	const here = -100
	at := here
	_, _, errno := syscall.Syscall6(renameat2[runtime.GOARCH], uintptr(at), uintptr(unsafe.Pointer(from)), uintptr(at), uintptr(unsafe.Pointer(to)), 2, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

var renameat2 = map[string]uintptr{"amd64": 316, "arm64": 276}
