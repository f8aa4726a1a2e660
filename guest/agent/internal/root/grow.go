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

// fileSystemSize tells how large an ext4 is, in bytes. statfs tells only what is left of it after its overhead; the
// superblock tells all, and it is in the page cache since the mount.
func fileSystemSize(disk string) (uint64, *failure.Failure) {
	fd, err := syscall.Open(disk, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, failed("open "+disk, err)
	}
	var b [superLength]byte
	n, err := syscall.Pread(fd, b[:], superblock)
	_ = syscall.Close(fd)
	if err != nil || n != len(b) {
		return 0, failed("read the superblock of "+disk, err)
	}
	shift := 10 + little32(b[logBlock:])
	if shift > 16 {
		return 0, failure.New(failure.Internal, disk+" has no ext4 superblock")
	}
	return (little32(b[blocksLow:]) | little32(b[blocksHigh:])<<32) << shift, nil
}

// grow grows the mounted ext4 to size, if it is smaller.
func (u *Upper) grow(size uint64) *failure.Failure {
	if size <= u.size {
		return nil
	}
	fail := growTo(u.dir, u.disk, size)
	if fail == nil {
		u.size = size
	}
	return fail
}

// growTo grows the ext4 of which dir is an open folder.
func growTo(dir int, disk string, size uint64) *failure.Failure {
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(dir, &st); err != nil {
		return failed("look at the ext4 on "+disk, err)
	}
	blocks := size / uint64(st.Bsize)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(dir), resizeFS, uintptr(unsafe.Pointer(&blocks)))
	if errno != 0 {
		return failed("grow the ext4 on "+disk, errno)
	}
	return nil
}

func little32(b []byte) uint64 {
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24
}
