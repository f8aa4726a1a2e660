package cgroup

import "syscall"

// User processes can be made to stand still and to go on, all of them at once (cgroup-v2.rst, "cgroup.freeze"). The kernel
// tells of it by the file cgroup.events: a process stands still when it next leaves the kernel, which one that waits for a
// disk cannot do at once. KILL reaches them all the same.

const hooksBase = "hooks"

// freezing are the descriptors for it. The order's is opened before the template is stored; the events' when it is needed
// first, while processes still run: for a file that somebody has opened the kernel does more when the first process begins
// (fs/kernfs/file.c, kernfs_notify_workfn), and that is in the way of every start.
type freezing struct{ dir, order, events int }

func (f *freezing) open(dir int) (err error) {
	f.dir, f.events = dir, -1
	if f.order, err = open(dir, "cgroup.freeze", syscall.O_WRONLY); err != nil {
		return describe("open", "cgroup.freeze", err)
	}
	return nil
}

// Freeze tells user processes to stand still; Frozen says when they do.
func (g *Groups) Freeze() error {
	if g.freezing.events < 0 {
		var err error
		if g.freezing.events, err = open(g.freezing.dir, "cgroup.events", syscall.O_RDONLY); err != nil {
			return describe("open", "cgroup.events", err)
		}
	}
	g.strays.gather()
	if err := g.others.freeze(); err != nil {
		return err
	}
	return g.freezing.tell("1")
}

// Thaw has them go on.
func (g *Groups) Thaw() error {
	g.others.thaw()
	return g.freezing.tell("0")
}

// Frozen says whether all of them stand still. One that comes or that ends does not change it.
func (g *Groups) Frozen() bool {
	var b [128]byte
	n, _ := syscall.Pread(g.freezing.events, b[:], 0)
	frozen, _ := field(b[:max(n, 0)], "frozen")
	// A process that was not told yet may have made another group and moved there, or out of all of them: now that all others
	// stand still, none can.
	return frozen == 1 && g.others.freeze() == nil && g.others.still() && g.strays.gather()
}

// FreezeEvents is a descriptor and the event on it that tells that Frozen may have changed since it was called last. Of groups
// that the sandbox has made it tells nothing.
func (g *Groups) FreezeEvents() (fd int, event uint32) { return g.freezing.events, syscall.EPOLLPRI }

func (f *freezing) tell(order string) error {
	if _, err := syscall.Pwrite(f.order, []byte(order), 0); err != nil {
		return describe("write", "cgroup.freeze", err)
	}
	return nil
}

// hooksGroup makes the group of what runs while all others stand still. It holds to the same limits.
func hooksGroup(root int, l Limits) (*Group, error) {
	if err := syscall.Mkdirat(root, hooksBase, 0o755); err != nil && err != syscall.EEXIST {
		return nil, describe("make", hooksBase, err)
	}
	dir, err := open(root, hooksBase, syscall.O_DIRECTORY)
	if err != nil {
		return nil, describe("open", hooksBase, err)
	}
	for _, s := range [][2]string{{"memory.max", number(l.MemoryBytes)}, {"pids.max", number(l.Pids)}} {
		if err := write(dir, s[0], s[1]); err != nil {
			return nil, describe("set", s[0], err)
		}
	}
	return &Group{dir}, nil
}

// Hooks is that group.
func (g *Groups) Hooks() *Group {
	if g == nil {
		return nil
	}
	return g.hooks
}
