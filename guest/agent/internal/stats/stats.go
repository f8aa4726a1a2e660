// Package stats reads what the guest's kernel counts: CPU time, memory, disk, network, pressure. All of it is at hand, in
// files of /proc and by statfs(2) of the disks that take the sandbox's writes, so that PID 1 may do it itself: nothing here waits
// for a disk, or for a file system that a process of the sandbox serves.
package stats

import "syscall"

// Stats are counted since the kernel's boot, which was before the template was stored: only differences and levels mean something.
type Stats struct {
	CPU        uint64 // microseconds that all CPUs were busy
	Memory     Memory
	Disk       Disk
	Received   uint64 // bytes, of all interfaces but loopback
	Sent       uint64
	CPUWait    Pressure // processes that waited for a CPU
	MemoryWait Pressure
	IOWait     Pressure
}

// Memory is in bytes.
type Memory struct{ Total, Available, Cache uint64 }

// Disk is in bytes.
type Disk struct{ Total, Used, Available uint64 }

// Pressure is the kernel's pressure stall information: how long some, or all, of what could run waited.
type Pressure struct{ Some, Full Stall }

// Stall is a share of the last ten seconds in hundredths of a percent, and the microseconds in all.
type Stall struct{ Recent, Total uint64 }

// tick is the unit of /proc/stat in microseconds: USER_HZ is 100 on every architecture.
const tick = 10_000

// buffer is room for the largest of the files, as far as it is read: /proc/net/dev with 100 interfaces.
var buffer [16 << 10]byte

// Read reads all of it. upper is a descriptor of the disk, or −1. What the kernel does not have is 0.
func Read(upper int) (s Stats) {
	s.CPU = cpu(file("/proc/stat"))
	s.Memory = memory(file("/proc/meminfo"))
	s.Received, s.Sent = network(file("/proc/net/dev"))
	s.CPUWait = pressure(file("/proc/pressure/cpu"))
	s.MemoryWait = pressure(file("/proc/pressure/memory"))
	s.IOWait = pressure(file("/proc/pressure/io"))
	s.Disk = Space(upper)
	return s
}

// Space is that of the file system on which dir is; of −1, none.
func Space(dir int) Disk {
	var fs syscall.Statfs_t
	if dir < 0 || syscall.Fstatfs(dir, &fs) != nil {
		return Disk{}
	}
	size := uint64(fs.Bsize)
	return Disk{Total: fs.Blocks * size, Used: (fs.Blocks - fs.Bfree) * size, Available: fs.Bavail * size}
}

// file reads the beginning of a file into the one buffer.
func file(path string) []byte {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(fd)
	n, _ := syscall.Read(fd, buffer[:])
	return buffer[:max(n, 0)]
}
