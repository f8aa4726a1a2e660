package cgroup

import "os"

// Measured says what user processes may have, from what is there when only the agent runs: all that could be had of
// memory but for the slack, and most of the threads that the kernel allows, which it derives from the memory.
func Measured() Limits {
	var l Limits
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		available := meminfo(b, "MemAvailable:") << 10
		if available > 4*memorySlack {
			l.MemoryBytes = available - memorySlack
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/threads-max"); err == nil {
		threads, _ := leadingNumber(b)
		if threads > 8*pidSlack {
			l.Pids = threads - 4*pidSlack
		}
	}
	return l
}

func meminfo(b []byte, name string) uint64 {
	for i := 0; i+len(name) < len(b); i++ {
		if string(b[i:i+len(name)]) != name || i > 0 && b[i-1] != '\n' {
			continue
		}
		i += len(name)
		for i < len(b) && b[i] == ' ' {
			i++
		}
		value, _ := leadingNumber(b[i:])
		return value
	}
	return 0
}
