package cgroup

import (
	"strconv"
	"syscall"
)

// moveRounds is how often a group is looked through that others come to meanwhile.
const moveRounds = 64

// MoveAll moves every process of a group, given by its descriptor, to another one; false: it has some still.
func MoveAll(from, to int) bool {
	target, err := open(to, "cgroup.procs", syscall.O_WRONLY)
	if err != nil {
		return !(&Group{from}).holds()
	}
	defer syscall.Close(target)
	for range moveRounds {
		found := false
		(&Group{from}).each(func(pid int) {
			found = true
			_, _ = syscall.Write(target, []byte(strconv.Itoa(pid)))
		})
		if !found {
			return true // what is counted there still has ended
		}
	}
	return false
}

// Kill ends every process of a group, given by its descriptor.
func Kill(group int) error { return write(group, "cgroup.kill", "1") }

// holds says whether a process is in the group; one that has been removed has none.
func (one *Group) holds() bool {
	populated, ok := one.populated()
	return ok && populated
}
