// Package cgroup keeps what the sandbox runs apart from what runs the sandbox: user processes live in a control group
// with a little less than the VM's memory and processes, so that the kernel and the agent always have some, and each
// process that the host starts has a group of its own below it, so that it can be ended with all its descendants.
//
// It protects from accidents, not from root in the sandbox, who may write to these groups as on any Linux; what
// then suffers is that sandbox. PID 1 needs no OOM score: the kernel never takes the first process (mm/oom_kill.c,
// oom_unkillable_task), and a score would be inherited by all that it starts.
//
// Making a group costs a start more than using one, so the first ones are made before the template is stored, and
// none is ever removed: a group that is empty again is used again.
package cgroup

import (
	"strconv"
	"syscall"

	"microsandbox/agent/internal/failure"
)

const (
	mount = "/sys/fs/cgroup"
	base  = "sandbox"
	// warm groups are there before the template is stored.
	warm = 8
	// memorySlack is kept for the kernel and the agent, beyond what they have when the template is stored.
	memorySlack = 12 << 20
	// pidSlack is kept for the agent's own processes; and again, of what is left, for those that the host starts while
	// one of them has used up all that it may have.
	pidSlack = 32
	// weight is the CPU's share of all user processes together, of each group's in turn; a task outside has 100.
	weight = "100"
)

// Groups are the sandbox's control groups.
type Groups struct {
	dir    int // of "sandbox"
	events int // its memory.events
	made   int
	free   []*Group
	// used have been given back and are not empty yet: descendants of a process that has ended.
	used []*Group
	freezing
	others others
	strays strays
	hooks  *Group
}

// Group is that of one process and its descendants.
type Group struct {
	dir int
}

// Limits are what the groups hold user processes to.
type Limits struct {
	MemoryBytes uint64
	Pids        uint64
}

// Prepare makes the groups. l is what user processes may have in all; 0: no limit.
func Prepare(l Limits) (*Groups, error) {
	root, err := open(syscallCWD, mount, syscall.O_DIRECTORY)
	if err != nil {
		return nil, describe("open", mount, err)
	}
	defer syscall.Close(root)
	if err := write(root, "cgroup.subtree_control", "+memory +pids +cpu"); err != nil {
		return nil, describe("enable controllers in", mount, err)
	}
	if err := syscall.Mkdirat(root, base, 0o755); err != nil && err != syscall.EEXIST {
		return nil, describe("make", base, err)
	}
	g := &Groups{free: make([]*Group, 0, warm), used: make([]*Group, 0, warm)}
	if g.dir, err = open(root, base, syscall.O_DIRECTORY); err != nil {
		return nil, describe("open", base, err)
	}
	settings := [][2]string{
		{"cpu.weight", weight},
		{"memory.max", number(l.MemoryBytes)},
		{"pids.max", number(l.Pids)},
		// Not the memory controller: each group of it would be accounted for long after its processes have ended.
		{"cgroup.subtree_control", "+pids +cpu"},
	}
	for _, s := range settings {
		if err := write(g.dir, s[0], s[1]); err != nil {
			return nil, describe("set", s[0], err)
		}
	}
	if g.events, err = open(g.dir, "memory.events", syscall.O_RDONLY); err != nil {
		return nil, describe("open", "memory.events", err)
	}
	if err := g.freezing.open(g.dir); err != nil {
		return nil, err
	}
	if g.hooks, err = hooksGroup(root, l); err != nil {
		return nil, err
	}
	if err := g.others.open(root); err != nil {
		return nil, err
	}
	if err := g.strays.open(g.dir, g.others.root, g.hooks.dir); err != nil {
		return nil, err
	}
	for range warm {
		one, err := g.make(l.Pids)
		if err != nil {
			return nil, err
		}
		g.free = append(g.free, one)
	}
	return g, nil
}

// Take gives a group that is empty, or nil if none can be had: the process then runs without one of its own.
func (g *Groups) Take() *Group {
	if g == nil {
		return nil
	}
	if len(g.free) == 0 {
		g.sweep()
	}
	if n := len(g.free); n > 0 {
		one := g.free[n-1]
		g.free = g.free[:n-1]
		return one
	}
	one, err := g.make(0)
	if err != nil {
		return nil
	}
	return one
}

// Return gives a group back when the host has forgotten its process. Descendants may still be in it.
func (g *Groups) Return(one *Group) {
	if g != nil && one != nil {
		g.used = append(g.used, one)
	}
}

// sweep finds those that are empty by now.
func (g *Groups) sweep() {
	rest := g.used[:0]
	for _, one := range g.used {
		switch populated, ok := one.populated(); {
		case !ok: // removed by the sandbox's root
			one.Discard()
		case populated:
			rest = append(rest, one)
		default:
			g.free = append(g.free, one)
		}
	}
	clear(g.used[len(rest):])
	g.used = rest
}

func (g *Groups) make(pids uint64) (*Group, error) {
	name := strconv.Itoa(g.made)
	g.made++
	if err := syscall.Mkdirat(g.dir, name, 0o755); err != nil {
		return nil, describe("make group", name, err)
	}
	dir, err := open(g.dir, name, syscall.O_DIRECTORY)
	if err != nil {
		return nil, describe("open group", name, err)
	}
	if pids == 0 {
		pids = g.pids()
	}
	if pids > 2*pidSlack {
		_ = write(dir, "pids.max", number(pids-pidSlack))
	}
	return &Group{dir}, nil
}

// pids is the limit that holds for all groups now.
func (g *Groups) pids() uint64 { return g.number("pids.max") }

// Processes counts the user processes that there are, with their threads.
func (g *Groups) Processes() uint64 {
	if g == nil {
		return 0
	}
	return g.number("pids.current")
}

func (g *Groups) number(file string) uint64 {
	var b [32]byte
	fd, err := open(g.dir, file, syscall.O_RDONLY)
	if err != nil {
		return 0
	}
	defer syscall.Close(fd)
	n, _ := syscall.Read(fd, b[:])
	value, _ := leadingNumber(b[:max(n, 0)])
	return value
}

// Descriptor is for clone3(2).
func (one *Group) Descriptor() int { return one.dir }

// Discard forgets a group that the kernel does not take processes into any more.
func (one *Group) Discard() { _ = syscall.Close(one.dir) }

// populated says whether a process is left in the group or below it.
func (one *Group) populated() (yes, ok bool) {
	count, ok := one.event("populated")
	return count != 0, ok
}

// event reads what cgroup.events says of the group and all below it.
func (one *Group) event(name string) (value uint64, ok bool) {
	fd, err := open(one.dir, "cgroup.events", syscall.O_RDONLY)
	if err != nil {
		return 0, false
	}
	defer syscall.Close(fd)
	var b [128]byte
	n, _ := syscall.Read(fd, b[:])
	return field(b[:max(n, 0)], name)
}

// Signal reaches every process in the group. KILL misses none, however fast they fork; another signal those that are
// there now, at most 4,096 of them.
func (one *Group) Signal(signal syscall.Signal) {
	if signal == syscall.SIGKILL && Kill(one.dir) == nil {
		return
	}
	one.each(func(pid int) { _ = syscall.Kill(pid, signal) })
}

// each goes through the processes that are in the group now, at most 4,096 of them.
func (one *Group) each(do func(pid int)) {
	fd, err := open(one.dir, "cgroup.procs", syscall.O_RDONLY)
	if err != nil {
		return
	}
	defer syscall.Close(fd)
	var b [32 << 10]byte
	n, _ := syscall.Read(fd, b[:])
	for rest := b[:max(n, 0)]; len(rest) > 0; {
		pid, length := leadingNumber(rest)
		if length == 0 || length == len(rest) {
			return // not a whole line
		}
		if pid > 1 {
			do(int(pid))
		}
		rest = rest[length+1:]
	}
}

// Events is a descriptor that reports an exceptional condition when memory.events has changed.
func (g *Groups) Events() int { return g.events }

// Kills counts the processes that the kernel has killed because user processes had used up their memory.
func (g *Groups) Kills() uint64 {
	var b [256]byte
	n, _ := syscall.Pread(g.events, b[:], 0)
	kills, _ := field(b[:max(n, 0)], "oom_kill")
	return kills
}

func describe(doing, what string, err error) error {
	return failure.New(failure.Internal, failure.Describe("cgroup: "+doing+" "+what, err))
}
