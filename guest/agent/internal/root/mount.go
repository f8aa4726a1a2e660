package root

import (
	"syscall"
	"unsafe"
)

// mount is mount(2) without a word to the Go scheduler. A mount takes longer than the 20 µs after which the runtime would
// take the processor away from this thread and wake another one, and all of that, the kernel's part too, is code that has
// to be translated before the first answer. Nobody else has anything to do meanwhile.
func mount(source, target, kind string, flags uintptr, data string) error {
	from, err := syscall.BytePtrFromString(source)
	if err != nil {
		return err
	}
	to, err := syscall.BytePtrFromString(target)
	if err != nil {
		return err
	}
	as, err := syscall.BytePtrFromString(kind)
	if err != nil {
		return err
	}
	options, err := syscall.BytePtrFromString(data)
	if err != nil {
		return err
	}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_MOUNT, uintptr(unsafe.Pointer(from)), uintptr(unsafe.Pointer(to)),
		uintptr(unsafe.Pointer(as)), flags, uintptr(unsafe.Pointer(options)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
