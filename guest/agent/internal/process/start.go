package process

import (
	"syscall"

	"microsandbox/agent/internal/builtin"
	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/loop"
	"microsandbox/agent/internal/user"
	"microsandbox/agent/internal/wire"
)

// etc is where passwd and group are; tests have others.
var etc = "/etc"

// order is a start message, decoded.
type order struct {
	argv, env []string
	cwd, user string
	stdin     bool
	createCwd bool
	builtin   *builtin.Builtin // instead of a program of the sandbox's; argv is its name and arguments
	limits    []limit
	terminal  *terminal // nil: pipes
}

// Start opens a channel with a new process. A failure carries the exit code to report.
func (t *Table) Start(channel uint32, message wire.Item) *failure.Failure {
	if len(t.channels) >= maxProcesses {
		f := failure.Cannot(126, failure.ResourceExhausted, "too many processes: 1,024 are running or not yet closed")
		f.Hint = "let some end first"
		return f
	}
	o, fail := parseOrder(message)
	if fail != nil {
		return fail
	}
	p := &Process{table: t, channel: channel, builtin: o.builtin, terminal: o.terminal != nil}
	p.quiet = loop.NewTimer(p.silent)
	pipes, err := t.openStreams(o)
	if err != nil {
		return exhausted(err)
	}
	if o.builtin == nil {
		p.group = t.Groups.Take()
	}
	pid, fail := t.fork(o, pipes.child, p)
	pipes.closeChild(t.devNull)
	if fail != nil {
		t.Groups.Return(p.group)
		pipes.closeOwn(t.rings)
		return fail
	}
	p.pid = pid
	t.channels[channel], t.pids[pid] = p, p

	k := t.link
	b := wire.AppendText(wire.AppendText(wire.AppendMap(k.Begin(channel), 2), "op"), "started")
	k.End(wire.AppendUint(wire.AppendText(b, "pid"), uint64(pid)))

	t.connect(p, pipes)
	t.reaper.started()
	return nil
}

func (t *Table) openStreams(o order) (*pipes, error) {
	if o.terminal != nil {
		return t.openTerminal(o.terminal, o.stdin)
	}
	return t.openPipes(o.stdin)
}

func exhausted(err error) *failure.Failure {
	return failure.Cannot(126, failure.ResourceExhausted, failure.Describe("cannot make the process's streams", err))
}

func parseOrder(m wire.Item) (o order, fail *failure.Failure) {
	bad := func(message string) (order, *failure.Failure) {
		return o, failure.Cannot(126, failure.InvalidArgument, message)
	}
	var ok bool
	if o.argv, ok = m.Get("argv").Texts(); !ok || len(o.argv) == 0 || o.argv[0] == "" {
		return bad("argv must be an array of texts that begins with a command")
	}
	if o.env, ok = m.Get("env").Texts(); !ok {
		return bad("env must be an array of texts")
	}
	if o.cwd, ok = m.Get("cwd").Text(); !ok || o.cwd != "" && o.cwd[0] != '/' {
		return bad("working directory must be an absolute path: " + o.cwd)
	}
	if o.cwd == "" {
		o.cwd = "/"
	}
	if o.user, ok = m.Get("user").Text(); !ok {
		return bad("user must be a text")
	}
	if b := m.Get("builtin"); b.Kind() != wire.Absent && b.Kind() != wire.Null {
		name, _ := b.Text()
		if o.builtin = builtin.Find(name); o.builtin == nil {
			return o, failure.Cannot(126, failure.Unsupported, "this guest agent has no such builtin")
		}
		o.argv = builtin.Argv(name, o.argv[1:])
	}
	o.stdin = m.Get("stdin").True()
	o.createCwd = m.Get("create_cwd").True()
	if o.builtin == nil {
		if o.terminal, fail = parseTerminal(m.Get("pty")); fail != nil {
			return o, fail
		}
	}
	o.limits, fail = parseLimits(m.Get("rlimits"))
	return o, fail
}

// forkBuiltin starts the agent's own executable, as root and where the agent is.
func (t *Table) forkBuiltin(o order, files []uintptr) (int, *failure.Failure) {
	if o.builtin.Upper {
		if t.Upper < 0 {
			return 0, failure.Cannot(126, failure.InvalidState, "the sandbox has no writable file system")
		}
		files = append(files, uintptr(t.Upper))
	}
	attr := syscall.ProcAttr{Env: o.env, Files: files, Sys: &syscall.SysProcAttr{Setsid: true}}
	// Of the child itself: it needs no path to lead to it.
	pid, err := syscall.ForkExec("/proc/self/exe", o.argv, &attr)
	if err != nil {
		return 0, failure.Cannot(126, failure.Internal, failure.Describe("cannot start "+o.argv[0], err))
	}
	t.folders = t.folders || o.builtin.Mounts
	return pid, nil
}

// fork starts the process: who it is, where it is, what it executes, in this order.
func (t *Table) fork(o order, files []uintptr, p *Process) (int, *failure.Failure) {
	if o.builtin != nil {
		return t.forkBuiltin(o, files)
	}
	if t.folders {
		o = indirect(o)
	}
	var id user.Identity
	_, hasHome := variable(o.env, "HOME")
	if o.user != "" || !hasHome {
		var fail *failure.Failure
		if id, fail = user.Load(etc).Find(o.user); fail != nil {
			return 0, fail
		}
		if !hasHome {
			o.env = append(o.env, "HOME="+id.Home)
		}
	}
	attr := syscall.ProcAttr{Dir: o.cwd, Env: o.env, Files: files, Sys: &syscall.SysProcAttr{Setsid: true}}
	if o.terminal != nil {
		attr.Env = o.terminal.environment(o.env)
		attr.Sys.Setctty = true // descriptor 0
		// As a login gives it: whoever works at a terminal owns it. devpts has given it to the group tty.
		if err := syscall.Fchown(int(files[0]), id.UID, -1); err != nil {
			return 0, exhausted(err)
		}
	}
	if id.UID != 0 || id.GID != 0 || len(id.Groups) > 0 {
		attr.Sys.Credential = &syscall.Credential{Uid: uint32(id.UID), Gid: uint32(id.GID), Groups: id.Groups}
	}
	if o.cwd == "/" {
		attr.Dir = "" // where the agent is
	} else if fail := enter(o.cwd, o.createCwd, id); fail != nil {
		return 0, fail
	}
	list, fail := o.commands()
	if fail != nil {
		return 0, fail
	}
	attr.Sys.Ptrace = len(o.limits) > 0
	p.join(attr.Sys)
	var err error
	var command string
	for _, command = range list {
		var pid int
		pid, err = syscall.ForkExec(command, o.argv, &attr)
		if err == syscall.ENODEV && p.group != nil {
			// Somebody has removed the group: the process runs without one.
			p.group.Discard()
			p.group = nil
			p.join(attr.Sys)
			pid, err = syscall.ForkExec(command, o.argv, &attr)
		}
		if err == nil {
			return t.limited(pid, o.limits)
		}
		if err != syscall.EACCES {
			break
		}
	}
	return 0, refused(command, o.cwd, id.UID, id.GID, id.Groups, err)
}

// join has a process begin its life in its group.
func (p *Process) join(attr *syscall.SysProcAttr) {
	attr.UseCgroupFD = p.group != nil
	if p.group != nil {
		attr.CgroupFD = p.group.Descriptor()
	}
}

// limited gives a process its limits, if any were asked for.
func (t *Table) limited(pid int, limits []limit) (int, *failure.Failure) {
	if len(limits) == 0 {
		return pid, nil
	}
	errno, what := impose(pid, limits)
	if errno == 0 {
		return pid, nil
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	_, _ = syscall.Wait4(pid, nil, 0, nil)
	return 0, failure.Cannot(126, failure.InvalidArgument, failure.Describe("rlimit "+what, errno))
}

// enter makes sure that the working directory is one.
func enter(dir string, create bool, id user.Identity) *failure.Failure {
	var st syscall.Stat_t
	err := syscall.Stat(dir, &st)
	if err == syscall.ENOENT && create {
		if err = createAll(dir, id); err == nil {
			err = syscall.Stat(dir, &st)
		}
	}
	if err == nil && st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return failure.Cannot(126, failure.InvalidArgument, failure.Describe("working directory "+dir, err))
	}
	return nil
}

// createAll makes a directory and its parents; they belong to the user who will work there.
func createAll(dir string, id user.Identity) error {
	for i := 1; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		switch err := syscall.Mkdir(dir[:i], 0o755); err {
		case nil:
			if err := syscall.Lchown(dir[:i], id.UID, id.GID); err != nil {
				return err
			}
		case syscall.EEXIST:
		default:
			return err
		}
	}
	return nil
}
