package cgroup

import (
	"strconv"
	"syscall"
)

// strays are processes that root of the sandbox has moved to where nothing stands still: to the topmost group of all, where the
// agent and the kernel's own threads are, or to that of hooks. Before the others do they are brought back among them.
//
// The kernel's threads are in no session, and no process can leave its session for that; the kernel's helpers (of a
// core_pattern) are left with them. What else is the agent's runs its executable.
type strays struct {
	dir   int   // of "sandbox"
	from  []int // groups in which nothing of the sandbox's belongs
	proc  int   // of /proc, which root may mount something over
	agent syscall.Stat_t
	home  *Group // where they are brought; made when it is needed
}

const (
	straysHome = "strays"
	oPath      = 0x200000 // O_PATH
)

func (s *strays) open(dir int, from ...int) error {
	s.dir, s.from = dir, from
	var err error
	if s.proc, err = open(syscallCWD, "/proc", syscall.O_DIRECTORY); err != nil {
		return describe("open", "/proc", err)
	}
	if s.agent, err = s.executable(syscall.Getpid()); err != nil {
		return describe("look at", "the agent's executable", err)
	}
	return nil
}

func (s *strays) executable(pid int) (st syscall.Stat_t, err error) {
	fd, err := open(s.proc, strconv.Itoa(pid)+"/exe", oPath)
	if err != nil {
		return st, err
	}
	defer syscall.Close(fd)
	err = syscall.Fstat(fd, &st)
	return st, err
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
	executable, err := s.executable(pid)
	// Without one its first thread has ended: others may run.
	return err != nil || executable.Dev != s.agent.Dev || executable.Ino != s.agent.Ino
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
