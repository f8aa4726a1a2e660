// Package process starts processes, carries their streams, reaps them and tells how they ended: the channels of the
// agent protocol. It owns every child of PID 1 and every pipe to one. It never parses frames, and everything in it
// runs on the agent's one loop; the only other goroutine is the reaper's bell, which owns nothing.
package process

import (
	"syscall"
	"time"

	"microsandbox/agent/internal/builtin"
	"microsandbox/agent/internal/cgroup"
	"microsandbox/agent/internal/link"
	"microsandbox/agent/internal/loop"
	"microsandbox/agent/internal/ring"
	"microsandbox/agent/internal/wire"
)

const (
	// maxProcesses bounds the running and unclosed ones.
	maxProcesses = 1024
	// silence is how long a descendant may keep a pipe open without a word after the process itself has ended.
	silence = 500 * time.Millisecond
)

// Table holds all processes by channel and by pid.
type Table struct {
	loop     *loop.Loop
	link     *link.Link
	rings    *ring.Pool
	reaper   *reaper
	devNull  int
	channels map[uint32]*Process
	pids     map[int]*Process
	// squeezed: a stream stopped reading because all rings together hold too much.
	squeezed bool
	// paced counts the streams that are paced.
	paced int
	// folders: a folder of the host is mounted, and PID 1 must touch no path that may lead there.
	folders bool
	// Killed counts children that ended by KILL.
	Killed int
	// Upper is the descriptor of the file system that takes what the sandbox writes; −1: none yet.
	Upper int
	// Groups are the control groups of user processes; nil: they run without.
	Groups *cgroup.Groups
	// OutOfMemory says whether the kernel has just killed for lack of memory.
	OutOfMemory func() bool
	// Childless is called when the last process in the VM is gone.
	Childless func()
}

// Process is one channel.
type Process struct {
	table   *Table
	channel uint32
	pid     int
	stdin   input
	outputs [2]output // stdout, stderr
	status  syscall.WaitStatus
	killed  bool             // by the host
	starved bool             // killed by the kernel, when user processes had used up their memory
	exited  bool             // and reaped: its pid may be another's by now
	closed  bool             // the host has forgotten it
	builtin *builtin.Builtin // nil for a program of the sandbox's
	group   *cgroup.Group    // of it and its descendants; nil: none could be had
	// terminal: it has one in place of pipes. Its output is outputs[0]; outputs[1] ends at once.
	terminal bool
	exitOut  bool // the exit message was sent on this connection
	quiet    *loop.Timer
}

// NewTable starts the reaper. The link is set by Attach, because each needs the other.
func NewTable(l *loop.Loop, rings *ring.Pool) (*Table, error) {
	null, err := syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	t := &Table{
		loop: l, rings: rings, devNull: null, Upper: -1,
		channels: make(map[uint32]*Process, 16), pids: make(map[int]*Process, 16),
		Childless: func() {}, OutOfMemory: func() bool { return false },
	}
	t.reaper, err = newReaper(l, t)
	return t, err
}

// Attach says where streams go.
func (t *Table) Attach(k *link.Link) { t.link = k }

// Count is the number of channels that are open.
func (t *Table) Count() int { return len(t.channels) }

// Expect says that PID 1 has got a child that is no channel's; it is buried like an orphan.
func (t *Table) Expect() { t.reaper.started() }

// DevNull is a descriptor of /dev/null.
func (t *Table) DevNull() int { return t.devNull }

// Running says whether PID 1 has any child.
func (t *Table) Running() bool { return t.reaper.armed }

// Scope is whom a signal reaches.
type Scope int

const (
	Alone Scope = iota // the process
	Job                // its process group
	Tree               // it and all its descendants, whatever sessions they are in
)

// Signal sends a signal to a channel's process and, as the scope says, to others.
func (t *Table) Signal(channel uint32, signal syscall.Signal, scope Scope) {
	p := t.channels[channel]
	if p != nil && signal == syscall.SIGKILL {
		p.killed = true
	}
	switch {
	case p == nil:
	case scope == Tree && p.group != nil:
		p.group.Signal(signal) // also when the process itself has ended
	case p.exited: // a reaped process's pid may be another's by now
	case scope == Alone:
		_ = syscall.Kill(p.pid, signal)
	default:
		_ = syscall.Kill(-p.pid, signal)
	}
}

// Close forgets a channel, and kills its process group if it still runs.
func (t *Table) Close(channel uint32) {
	p := t.channels[channel]
	if p == nil {
		return
	}
	if !p.exited {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
	p.closed = true
	t.Groups.Return(p.group)
	delete(t.channels, channel)
	t.loop.Disarm(p.quiet)
	p.stdin.release()
	p.outputs[0].release()
	p.outputs[1].release()
}

// Gone says that the host has gone: what processes write is kept, and then dropped from its oldest end.
func (t *Table) Gone() {
	for _, p := range t.channels {
		for i := range p.outputs {
			p.outputs[i].disconnected()
		}
	}
}

// EndBuiltins ends what is of no use to a new host.
func (t *Table) EndBuiltins() {
	for channel, p := range t.channels {
		if p.builtin != nil && !p.builtin.Lasts {
			t.Close(channel)
		}
	}
}

// Connected says that a new connection counts. What was sent on the one before is sent again from where the host's
// first credit says.
func (t *Table) Connected() {
	for _, p := range t.channels {
		p.exitOut = false
		for i := range p.outputs {
			p.outputs[i].reconnected()
		}
		p.stdin.grant()
	}
}

// Data takes a frame of a process's stdin.
func (t *Table) Data(channel uint32, stream byte, payload []byte) {
	if p := t.channels[channel]; p != nil && stream == wire.Stdin {
		p.stdin.take(payload)
		p.outputs[0].hurry()
		p.outputs[1].hurry()
	}
}

// Credit lets an output go on.
func (t *Table) Credit(channel uint32, stream byte, acked, limit uint64) {
	if p := t.channels[channel]; p != nil && stream != wire.Stdin {
		p.outputs[stream-1].credit(acked, limit)
	}
}

// reaped takes the status of a child that has ended.
func (t *Table) reaped(pid int, status syscall.WaitStatus) {
	if status.Signaled() && status.Signal() == syscall.SIGKILL {
		t.Killed++
	}
	p := t.pids[pid]
	if p == nil {
		return // an orphan
	}
	delete(t.pids, pid)
	p.exited, p.status = true, status
	p.starved = status.Signaled() && status.Signal() == syscall.SIGKILL && !p.killed && t.OutOfMemory()
	if p.closed {
		return
	}
	p.finish()
	if !p.outputs[0].ended || !p.outputs[1].ended {
		t.loop.Arm(p.quiet, silence)
	}
}

// silent fires when a descendant has kept a pipe open without a word. A pipe that the host keeps from being read
// is not silent.
func (p *Process) silent() {
	wait := false
	for i := range p.outputs {
		o := &p.outputs[i]
		if o.ended {
			continue
		}
		if (o.readable || o.pace.wait > 0) && o.unread() > 0 {
			wait = true
			continue
		}
		o.detach()
	}
	if wait {
		p.table.loop.Arm(p.quiet, silence)
	}
	p.finish()
}

// finish sends the exit message once everything before it was sent.
func (p *Process) finish() {
	if !p.exited || p.closed || p.exitOut || !p.outputs[0].endSent || !p.outputs[1].endSent {
		return
	}
	p.exitOut = true
	p.table.loop.Disarm(p.quiet)
	k := p.table.link
	b := wire.AppendMap(k.Begin(p.channel), 1+p.exitPairs())
	k.End(p.appendExit(wire.AppendText(wire.AppendText(b, "op"), "exit")))
}

func (p *Process) exitPairs() int {
	if p.starved {
		return 2
	}
	return 1
}

// appendExit appends the pairs that tell how a process ended.
func (p *Process) appendExit(b []byte) []byte {
	if p.starved {
		b = wire.AppendBool(wire.AppendText(b, "oom"), true)
	}
	if p.status.Signaled() {
		return wire.AppendUint(wire.AppendText(b, "signal"), uint64(p.status.Signal()))
	}
	return wire.AppendUint(wire.AppendText(b, "code"), uint64(p.status.ExitStatus()))
}
