// Package agent speaks the agent protocol's messages: it decides what a control message means and answers it. It
// composes link, process and the VM's own parts, and owns the phase the guest is in; it does no I/O itself.
package agent

import (
	"runtime"
	"strconv"
	"syscall"
	"time"

	"microsandbox/agent/internal/cgroup"
	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/link"
	"microsandbox/agent/internal/loop"
	"microsandbox/agent/internal/network"
	"microsandbox/agent/internal/process"
	"microsandbox/agent/internal/ring"
	"microsandbox/agent/internal/root"
	"microsandbox/agent/internal/wire"
)

// Version is the agent's own, told in the hello.
const Version = "0.1.0"

// protocolVersion is the highest that this agent speaks.
const protocolVersion = 1

// VM is what only a virtual machine has. Tests have another one.
type VM interface {
	// Setup gives the VM its identity and its root; mark is called after each step.
	Setup(s Setup, mark func(step string)) *failure.Failure
	// Prepare does, before the state is stored, what need not be done after every load. Without a network interface n is nil.
	Prepare(n *network.Config) *failure.Failure
	// Restore makes a VM that was loaded from a sandbox's state one of its own; mark is called after each step.
	Restore(r Restore, mark func(step string)) *failure.Failure
	// Mount adds a file system to the root, once it is set up.
	Mount(m root.Mount) *failure.Failure
	// SetClock sets the wall clock, in nanoseconds of Unix time.
	SetClock(ns uint64) *failure.Failure
	// Upper is a descriptor of the file system that takes what the sandbox writes, once it is set up.
	Upper() int
	// Volumes are those that the sandbox writes to.
	Volumes() []root.Volume
	// PowerOff syncs and ends the VM; it does not return.
	PowerOff()
	// SignalAll reaches every process but PID 1.
	SignalAll(signal syscall.Signal)
	// Log writes to the kernel's log.
	Log(level, message string)
}

type phase int

const (
	ready    phase = iota
	broken         // setup or restore failed
	running        // setup succeeded
	stopping       // a shutdown is under way
)

// Agent is the guest's end of the protocol.
type Agent struct {
	loop       *loop.Loop
	link       *link.Link
	table      *process.Table
	vm         VM
	boot       string
	phase      phase
	prepared   bool
	connection uint64 // counts hellos: an answer belongs to the connection its request came by
	document   wire.Document
	shutdown   shutdown
	standstill standstill
	hostname   string
	generation uint64 // as the last restore told
	logs       logs
	memory     memory
}

// Settings are for New.
type Settings struct {
	Port   link.Port
	VM     VM
	Boot   string // random per boot
	Budget int64  // bytes of output and input kept in all
	Warm   int    // rings to allocate in advance
	// Groups keep user processes within limits; nil: there are none.
	Groups *cgroup.Groups
	// Freezer makes user processes stand still; nil: nothing can.
	Freezer Freezer
	Hooks   HookSettings
}

// New makes an agent that answers on a port.
func New(s Settings) (*Agent, error) {
	l, err := loop.New()
	if err != nil {
		return nil, err
	}
	a := &Agent{loop: l, vm: s.VM, boot: s.Boot}
	if a.table, err = process.NewTable(l, ring.NewPool(s.Budget, s.Warm)); err != nil {
		return nil, err
	}
	if a.link, err = link.Open(l, s.Port, a, a.isHello); err != nil {
		return nil, err
	}
	a.table.Attach(a.link)
	a.table.Groups = s.Groups
	if s.Groups != nil {
		a.memory.init(a, s.Groups)
	}
	a.table.Childless = a.childless
	a.shutdown.init(a)
	a.standstill.init(a, s.Freezer, s.Hooks)
	l.BeforeWait = func() {
		a.link.Flush()
		a.shutdown.check()
	}
	return a, nil
}

// Run answers until the agent is stopped. It binds the loop to its thread: ptrace(2) requests must come from the
// thread that forked the process.
func (a *Agent) Run() error {
	runtime.LockOSThread()
	deepen()
	return a.loop.Run()
}

// deepen lets the stack grow now, as deep as it will ever be, and not step by step on the way to the first answer.
//
//go:noinline
func deepen() byte {
	var room [64 << 10]byte
	for i := range room {
		room[i] = byte(i)
	}
	return room[len(room)/2]
}

// isHello settles whether a frame may open a connection.
func (a *Agent) isHello(f wire.Frame) bool {
	if f.Type != wire.Control || f.Channel != 0 {
		return false
	}
	m, err := a.document.Parse(f.Payload)
	if err != nil || !m.Get("op").Is("hello") {
		return false
	}
	_, ok := m.Get("version").Uint()
	return ok
}

// Gone is called when the connection ended.
func (a *Agent) Gone() { a.table.Gone() }

// Message handles one frame. A panic costs the message, not PID 1.
func (a *Agent) Message(f wire.Frame) {
	defer a.survive(f)
	switch f.Type {
	case wire.Data:
		a.table.Data(f.Channel, f.Stream, f.Payload)
	case wire.Credit:
		acked, limit := wire.ParseCredit(f.Payload)
		a.table.Credit(f.Channel, f.Stream, acked, limit)
	case wire.Control:
		m, err := a.document.Parse(f.Payload)
		if err != nil || m.Kind() != wire.Map {
			a.Log("warn", "a control message from the host is no CBOR map")
		} else if f.Channel == 0 {
			a.request(m)
		} else {
			a.onChannel(f.Channel, m)
		}
	}
}

func (a *Agent) survive(f wire.Frame) {
	cause := recover()
	if cause == nil {
		return
	}
	a.Log("error", "panic in a frame on channel "+strconv.FormatUint(uint64(f.Channel), 10)+": "+describe(cause))
	if f.Type != wire.Control {
		return
	}
	m, err := a.document.Parse(f.Payload)
	if err != nil {
		return
	}
	fail := failure.New(failure.Internal, "the guest agent failed: "+describe(cause))
	if id, ok := m.Get("id").Uint(); ok && f.Channel == 0 {
		a.replyError(id, fail)
	} else if m.Get("op").Is("start") {
		fail.ExitCode = 126
		a.failed(f.Channel, fail)
	}
}

func describe(cause any) string {
	switch c := cause.(type) {
	case error:
		return c.Error()
	case string:
		return c
	}
	return "unknown cause"
}

// onChannel handles a message on a process's channel.
func (a *Agent) onChannel(channel uint32, m wire.Item) {
	op := m.Get("op")
	switch {
	case op.Is("start"):
		a.start(channel, m)
	case op.Is("signal"):
		if n, ok := m.Get("signal").Uint(); ok && n >= 1 && n <= 64 {
			scope := process.Alone
			if m.Get("tree").True() {
				scope = process.Tree
			} else if m.Get("group").True() {
				scope = process.Job
			}
			a.table.Signal(channel, syscall.Signal(n), scope)
		}
	case op.Is("resize"):
		rows, ok1 := m.Get("rows").Uint()
		cols, ok2 := m.Get("cols").Uint()
		if ok1 && ok2 {
			a.table.Resize(channel, rows, cols)
		}
	case op.Is("close"):
		a.table.Close(channel)
	}
}

func (a *Agent) start(channel uint32, m wire.Item) {
	var fail *failure.Failure
	switch {
	case a.table.Has(channel):
		// A "failed" would end the channel of the process that has it.
		a.Log("warn", "start on a channel that is open")
		return
	case a.phase == ready:
		fail = failure.Cannot(126, failure.InvalidState, "the sandbox has no root file system yet: setup comes first")
	case a.phase == broken:
		fail = failure.Cannot(126, failure.InvalidState, "the sandbox is unusable: its setup or its restore failed")
	case a.phase == stopping:
		fail = failure.Cannot(126, failure.InvalidState, "the sandbox is shutting down")
	default:
		if fail = a.standstill.refusal(); fail == nil {
			fail = a.table.Start(channel, m)
		}
	}
	if fail != nil {
		a.failed(channel, fail)
	}
}

func (a *Agent) failed(channel uint32, fail *failure.Failure) {
	b := wire.AppendText(wire.AppendText(wire.AppendMap(a.link.Begin(channel), 3), "op"), "failed")
	b = appendError(wire.AppendText(b, "error"), fail)
	a.link.End(wire.AppendUint(wire.AppendText(b, "exit_code"), uint64(fail.ExitCode)))
}

func nanoseconds() uint64 { return uint64(time.Now().UnixNano()) }
