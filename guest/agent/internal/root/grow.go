package root

import (
	"syscall"
	"unsafe"

	"microsandbox/agent/internal/failure"
)

const (
	resizeFS = 0x40086610 // EXT4_IOC_RESIZE_FS: _IOW('f', 16, __u64), in blocks

	// Fields of the ext4 superblock, which lies at byte 1024 of the disk (Documentation/filesystems/ext4/super.rst).
	superblock  = 1024
	blocksLow   = 0x4
	logBlock    = 0x18
	blocksHigh  = 0x150
	superLength = 0x154
)

// grow grows the mounted ext4 to size, if it is smaller. statfs does not tell the file system's size, only what is
// left of it after its overhead; the superblock does, and it is in the page cache since the mount.
func grow(mounted int, disk string, size uint64) *failure.Failure {
	if size == 0 {
		return nil
	}
	fd, err := syscall.Open(disk, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return failed("open disk \"upper\" ("+disk+")", err)
	}
	var b [superLength]byte
	n, err := syscall.Pread(fd, b[:], superblock)
	_ = syscall.Close(fd)
	if err != nil || n != len(b) {
		return failed("read the superblock of disk \"upper\" ("+disk+")", err)
	}
	shift := 10 + little32(b[logBlock:])
	if shift > 16 {
		return failure.New(failure.Internal, "disk \"upper\" ("+disk+") has no ext4 superblock")
	}
	have := little32(b[blocksLow:]) | little32(b[blocksHigh:])<<32
	want := size >> shift
	if want <= have {
		return nil
	}
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(mounted), resizeFS, uintptr(unsafe.Pointer(&want)))
	if errno != 0 {
		return failed("grow the ext4 on disk \"upper\" ("+disk+")", errno)
	}
	return nil
}

func little32(b []byte) uint64 {
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24
}
