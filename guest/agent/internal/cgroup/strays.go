package cgroup

import (
	"strconv"
	"syscall"
)

// strays are processes that root of the sandbox has moved to where nothing stands still: to the topmost group of all, where the
// agent and the kernel's own threads are, or to that of hooks. Before the others do they are brought back among them.
//
// The kernel's threads are in no session, and no process can leave its session for that. What else is the agent's runs its
// executable.
type strays struct {
	dir   int   // of "sandbox"
	from  []int // groups in which nothing of the sandbox's belongs
	agent syscall.Stat_t
	home  *Group // where they are brought; made when it is needed
}

const straysHome = "strays"

func (s *strays) open(dir int, from ...int) error {
	s.dir, s.from = dir, from
	if err := syscall.Stat("/proc/self/exe", &s.agent); err != nil {
		return describe("look at", "the agent's executable", err)
	}
	return nil
}

// gather brings back those that there are; true: there were none.
func (s *strays) gather() bool {
	none := true
	for _, group := range s.from {
		(&Group{group}).each(func(pid int) {
			if s.is(pid) {
				none = false
				s.bring(pid)
			}
		})
	}
	return none
}

func (s *strays) is(pid int) bool {
	if session, _, _ := syscall.RawSyscall(syscall.SYS_GETSID, uintptr(pid), 0, 0); int(session) <= 0 {
		return false // one of the kernel's, or it has ended
	}
	var executable syscall.Stat_t
	if syscall.Stat("/proc/"+strconv.Itoa(pid)+"/exe", &executable) != nil {
		return false // it has ended
	}
	return executable.Dev != s.agent.Dev || executable.Ino != s.agent.Ino
}

// bring moves one. What fails is tried again with the next look.
func (s *strays) bring(pid int) {
	for range 2 {
		if s.home == nil && !s.makeHome() {
			return
		}
		if err := write(s.home.dir, "cgroup.procs", strconv.Itoa(pid)); err == nil || err == syscall.ESRCH {
			return
		}
		// Somebody may have removed the group.
		s.home.Discard()
		s.home = nil
	}
}

func (s *strays) makeHome() bool {
	if err := syscall.Mkdirat(s.dir, straysHome, 0o755); err != nil && err != syscall.EEXIST {
		return false
	}
	dir, err := open(s.dir, straysHome, syscall.O_DIRECTORY)
	if err == nil {
		s.home = &Group{dir}
	}
	return err == nil
}
