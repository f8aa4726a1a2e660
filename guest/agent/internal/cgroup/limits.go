package cgroup

import "os"

// perProcess is what each process has of the memory at least. One of a fork bomb in shell takes 127 KiB with its kernel
// stack and page tables. Should memory end before processes do, thousands of them look for some in vain, page by page of the
// few that they share, and for minutes nothing else gets on; when processes end first, fork fails, and all others have room.
const perProcess = 192 << 10

// Measured says what user processes may have, from what is there when only the agent runs: all that could be had of
// memory but for the slack, and as many processes as that has room for, within the threads that the kernel allows.
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
	if room := l.MemoryBytes / perProcess; room > 4*pidSlack {
		l.Pids = min(l.Pids, room)
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
