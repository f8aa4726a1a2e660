package agent

import (
	"time"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/loop"
	"microsandbox/agent/internal/wire"
)

// Freezer makes user processes stand still.
type Freezer interface {
	// Freeze tells them to; Frozen says when all of them do.
	Freeze() error
	// Thaw has them go on.
	Thaw() error
	Frozen() bool
	// FreezeEvents is a descriptor and the event on it that tells that Frozen may have changed.
	FreezeEvents() (fd int, event uint32)
}

// standstill is the time in which no user process runs, so that the VM's state can be stored, and in which a VM that was
// loaded from such a state becomes one of its own. PID 1 serves on: what a process needs to come to rest may pass through
// it (a folder of the host), so it is not waited for but told of.
type standstill struct {
	agent      *Agent
	user       Freezer // nil: there are no control groups
	pace       pace
	id         uint64 // of the request that is not answered yet
	connection uint64
	timer      *loop.Timer
	look       *loop.Timer
	looks      int
	hooks      hooking // while they run, processes stand still
}

// pace is how far user processes are.
type pace int

const (
	moving pace = iota
	freezing
	frozen
)

// The kernel tells that processes stand still at once, but never sooner than 10 ms after it last told of the group
// (kernel/cgroup/cgroup.c, CGROUP_FILE_NOTIFY_MIN_INTV), and nothing of groups that the sandbox has made itself. So PID 1
// looks, too.
const (
	lookOften  = time.Millisecond
	often      = 12
	lookSeldom = 10 * time.Millisecond
)

// maxFreeze keeps the host's number within a timer's.
const maxFreeze = time.Hour

func (s *standstill) init(a *Agent, user Freezer, hooks HookSettings) {
	s.agent, s.user = a, user
	s.timer, s.look = loop.NewTimer(s.late), loop.NewTimer(s.lookAgain)
	s.hooks.init(a, hooks, s.hooksOver)
}

// freeze is answered when every user process stands still.
func (s *standstill) freeze(id uint64, m wire.Item) {
	a := s.agent
	patience, ok := m.Get("timeout_ms").Uint()
	var fail *failure.Failure
	switch {
	case !ok:
		fail = failure.New(failure.InvalidArgument, "freeze: timeout_ms must be a number of milliseconds")
	case a.phase != running:
		fail = failure.New(failure.InvalidState, "freeze: the sandbox is not set up, or shutting down")
	case s.user == nil:
		fail = failure.New(failure.Unsupported, "freeze: the guest has no control groups")
	case s.pace == freezing:
		fail = failure.New(failure.InvalidState, "freeze: it is under way already")
	case s.hooks.running:
		fail = failure.New(failure.InvalidState, "freeze: hooks are running, and then processes go on")
	case s.pace == frozen:
		a.link.End(a.reply(id, 0))
		return
	}
	if fail == nil {
		fail = s.begin(id, min(time.Duration(min(patience, 1<<40))*time.Millisecond, maxFreeze))
	}
	if fail != nil {
		a.replyError(id, fail)
	}
}

func (s *standstill) begin(id uint64, patience time.Duration) *failure.Failure {
	if err := s.user.Freeze(); err != nil {
		_ = s.user.Thaw()
		return failure.New(failure.Internal, err.Error())
	}
	// Watched from now on only: the descriptor tells of each process that comes when there was none, too.
	fd, event := s.user.FreezeEvents()
	if err := s.agent.loop.Watch(fd, event, s); err != nil {
		_ = s.user.Thaw()
		return failure.New(failure.Internal, failure.Describe("watch cgroup.events", err))
	}
	s.pace, s.id, s.connection = freezing, id, s.agent.connection
	s.agent.loop.Arm(s.timer, patience)
	s.looks = 0
	s.lookAgain()
	return nil
}

// lookAgain is for what the kernel has not told yet.
func (s *standstill) lookAgain() {
	if s.Ready(0); s.pace != freezing {
		return
	}
	if s.looks++; s.looks <= often {
		s.agent.loop.Arm(s.look, lookOften)
	} else {
		s.agent.loop.Arm(s.look, lookSeldom)
	}
}

// Ready is called when it may be that all stand still.
func (s *standstill) Ready(uint32) {
	if s.pace != freezing || !s.user.Frozen() {
		return
	}
	s.unwatch()
	s.pace = frozen
	s.agent.link.End(s.agent.reply(s.id, 0))
}

// late gives up.
func (s *standstill) late() {
	s.giveUp(failure.New(failure.Timeout, "some processes did not stand still in time: they wait for a disk or for a folder of the host, or cannot be brought into a control group"))
}

// giveUp has processes go on that were to stand still.
func (s *standstill) giveUp(why *failure.Failure) {
	s.unwatch()
	s.pace = moving
	if err := s.user.Thaw(); err != nil {
		s.agent.Log("error", err.Error())
	}
	if s.connection == s.agent.connection {
		s.agent.replyError(s.id, why)
	}
}

func (s *standstill) unwatch() {
	fd, _ := s.user.FreezeEvents()
	s.agent.loop.Unwatch(fd)
	s.agent.loop.Disarm(s.timer)
	s.agent.loop.Disarm(s.look)
}

// thaw has user processes go on, after the sandbox's hooks if the host wants them.
func (s *standstill) thaw(id uint64, m wire.Item) {
	a := s.agent
	wanted := m.Get("hooks").True()
	switch {
	case a.phase == broken:
		a.replyError(id, failure.New(failure.InvalidState, "the sandbox is unusable: what it was to become has failed"))
		return
	case !s.hooks.running:
	case !wanted:
		s.hooks.late() // which has processes go on
	case s.connection == a.connection:
		a.replyError(id, failure.New(failure.InvalidState, "thaw: hooks are running already"))
		return
	default: // for a host that is gone
		s.id, s.connection = id, a.connection
		return
	}
	if wanted && s.pace == frozen {
		started, fail := s.hooks.start()
		if fail != nil {
			a.replyError(id, fail)
			return
		}
		if started {
			s.id, s.connection = id, a.connection
			return
		}
	}
	s.end()
	a.link.End(appendHooks(wire.AppendText(a.reply(id, 1), "hooks"), nil))
}

// hooksOver is called when the hooks have run.
func (s *standstill) hooksOver() {
	s.end()
	if a := s.agent; s.connection == a.connection {
		a.link.End(appendHooks(wire.AppendText(a.reply(s.id, 1), "hooks"), s.hooks.reports.Results))
	}
}

// end has user processes go on, whatever they did.
func (s *standstill) end() {
	if s.hooks.running {
		s.hooks.abort()
		if s.connection == s.agent.connection {
			s.agent.replyError(s.id, failure.New(failure.InvalidState, "thaw: the sandbox is shutting down"))
		}
	}
	switch s.pace {
	case freezing:
		s.giveUp(failure.New(failure.InvalidState, "freeze: processes were told to go on meanwhile"))
	case frozen:
		s.pace = moving
		if err := s.user.Thaw(); err != nil {
			s.agent.Log("error", err.Error())
		}
	}
}

// connected says that a new host counts: nobody waits for what the one before has asked for.
func (s *standstill) connected() {
	if s.pace == freezing {
		s.giveUp(nil)
	}
}

// refusal is why a process cannot be started now; one that began its life in a group that stands still would never get as
// far as its program, and PID 1 would wait for it. nil: it can.
func (s *standstill) refusal() *failure.Failure {
	if s.pace == moving {
		return nil
	}
	return failure.Cannot(126, failure.InvalidState, "the sandbox stands still: its state is being stored or loaded")
}
