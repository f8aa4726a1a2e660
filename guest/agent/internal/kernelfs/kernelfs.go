// Package kernelfs tells file systems that the kernel makes up from those that hold files.
package kernelfs

import "syscall"

// MadeUp says whether a folder is of a file system whose files are the kernel's answers (include/uapi/linux/magic.h):
// there is no end to what they hold, and nothing tells of changes. /proc/kcore alone would be 128 TiB.
func MadeUp(fd int) bool {
	var st syscall.Statfs_t
	if syscall.Fstatfs(fd, &st) != nil {
		return false
	}
	switch uint32(st.Type) {
	case 0x9fa0, // proc
		0x62656572,           // sysfs
		0x63677270, 0x27e0eb, // cgroup2, cgroup
		0x64626720, 0x74726163, // debugfs, tracefs
		0x73636673, 0xcafe4a11, // securityfs, bpf
		0x1cd1, 0x19800202, // devpts, mqueue
		0x62656570, 0x42494e4d, 0x6165676c: // configfs, binfmt_misc, pstore
		return true
	}
	return false
}
