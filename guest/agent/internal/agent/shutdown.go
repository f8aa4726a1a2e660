package agent

import (
	"syscall"
	"time"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/loop"
	"microsandbox/agent/internal/wire"
)

const (
	// killWait is how long killed processes may take to die: those in the middle of a disk operation finish it.
	killWait = 500 * time.Millisecond
	// flushWait is how long the output left may take to the host.
	flushWait = 250 * time.Millisecond
	// maxGrace keeps the host's number within a timer's.
	maxGrace = 24 * time.Hour
)

// shutdown ends the VM in stages, each left when its condition holds or its time is over: TERM and wait, KILL and
// wait, flush and answer, power off.
type shutdown struct {
	agent      *Agent
	id         uint64
	connection uint64
	stage      stage
	killed     int // children that had died of KILL before
	timer      *loop.Timer
}

type stage int

const (
	idle stage = iota
	terminating
	killing
	flushing
	answering
	over
)

func (s *shutdown) init(a *Agent) {
	s.agent = a
	s.timer = loop.NewTimer(s.next)
}

func (s *shutdown) begin(id uint64, m wire.Item) {
	a := s.agent
	grace, ok := m.Get("grace_ms").Uint()
	if !ok {
		a.replyError(id, failure.New(failure.InvalidArgument, "shutdown: grace_ms must be a number of milliseconds"))
		return
	}
	if s.stage != idle {
		// A new host may ask again after the old one has gone; it may also be in more of a hurry.
		if s.connection == a.connection {
			a.replyError(id, failure.New(failure.InvalidState, "the sandbox is shutting down already"))
			return
		}
	} else {
		a.standstill.end() // one that stands still would not get the TERM
		a.phase = stopping
		s.stage, s.killed = terminating, a.table.Killed
		a.vm.SignalAll(syscall.SIGTERM)
		a.vm.SignalAll(syscall.SIGCONT) // a stopped process gets the TERM only when it goes on
	}
	s.id, s.connection = id, a.connection
	if !a.table.Running() {
		s.stage = killing
		s.next()
	} else if s.stage == terminating {
		a.loop.Arm(s.timer, min(time.Duration(min(grace, 1<<40))*time.Millisecond, maxGrace))
	}
}

// childless is called when no process is left.
func (a *Agent) childless() {
	s := &a.shutdown
	if s.stage == terminating || s.stage == killing {
		if s.stage == terminating {
			s.killed = a.table.Killed // by others, all of them
		}
		s.stage = killing
		s.next()
	}
}

func (s *shutdown) next() {
	a := s.agent
	switch s.stage {
	case terminating:
		s.stage, s.killed = killing, a.table.Killed
		a.vm.SignalAll(syscall.SIGKILL)
		a.loop.Arm(s.timer, killWait)
	case killing:
		s.stage = flushing
		a.loop.Arm(s.timer, flushWait)
	case flushing:
		s.stage = answering
		if s.connection == a.connection {
			b := a.reply(s.id, 1)
			a.link.End(wire.AppendUint(wire.AppendText(b, "killed"), uint64(a.table.Killed-s.killed)))
		}
		a.loop.Arm(s.timer, flushWait)
	case answering:
		s.stage = over
		a.vm.PowerOff()
		a.loop.Stop()
	}
}

// check ends a stage that waits for the link. It runs after every write.
func (s *shutdown) check() {
	a := s.agent
	for s.stage == flushing || s.stage == answering {
		if a.link.Connected() && !(a.link.Idle() && (s.stage == answering || a.table.Settled())) {
			return
		}
		a.loop.Disarm(s.timer)
		s.next()
		a.link.Flush()
	}
}
