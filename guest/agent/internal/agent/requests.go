package agent

import (
	"time"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/wire"
)

// request handles a message on channel 0.
func (a *Agent) request(m wire.Item) {
	id, ok := m.Get("id").Uint()
	if !ok || id == 0 {
		a.Log("warn", "a message on channel 0 has no id")
		return
	}
	op := m.Get("op")
	switch {
	case op.Is("prepare"):
		a.prepare(id, m)
	case op.Is("setup"):
		a.setup(id, m)
	case op.Is("mount"):
		a.mount(id, m)
	case op.Is("ping"):
		a.ping(id, m)
	case op.Is("stats"):
		a.stats(id)
	case op.Is("owners"):
		a.owners(id, m)
	case op.Is("freeze"):
		a.standstill.freeze(id, m)
	case op.Is("restore"):
		a.restore(id, m)
	case op.Is("thaw"):
		a.standstill.thaw(id, m)
	case op.Is("shutdown"):
		a.shutdown.begin(id, m)
	default:
		name, _ := op.Text()
		a.replyError(id, failure.New(failure.Unsupported, "the guest agent knows no request \""+name+"\""))
	}
}

// ping says that the agent is there. A VM that stood still is told the time by it.
func (a *Agent) ping(id uint64, m wire.Item) {
	if now, ok := m.Get("set_time_ns").Uint(); ok {
		if fail := a.setClock(now); fail != nil {
			a.replyError(id, fail)
			return
		}
	}
	b := a.reply(id, 3)
	b = wire.AppendUint(wire.AppendText(b, "time_ns"), nanoseconds())
	b = wire.AppendUint(wire.AppendText(b, "uptime_ms"), uint64(a.loop.Now()/time.Millisecond))
	a.link.End(wire.AppendUint(wire.AppendText(b, "processes"), uint64(a.table.Count())))
}

func (a *Agent) setClock(now uint64) *failure.Failure {
	if a.phase < running {
		return failure.New(failure.InvalidState, "the clock is set by the setup first")
	}
	if now > 1<<63-1 {
		return failure.New(failure.InvalidArgument, "set_time_ns must be nanoseconds of Unix time")
	}
	return a.vm.SetClock(now)
}

// reply opens the answer to a request, to which n more pairs are appended before link.End.
func (a *Agent) reply(id uint64, n int) []byte {
	b := wire.AppendText(wire.AppendText(wire.AppendMap(a.link.Begin(0), 2+n), "op"), "reply")
	return wire.AppendUint(wire.AppendText(b, "id"), id)
}

func (a *Agent) replyError(id uint64, fail *failure.Failure) {
	a.link.End(appendError(wire.AppendText(a.reply(id, 1), "error"), fail))
}

func appendError(b []byte, fail *failure.Failure) []byte {
	n := 2
	if fail.Hint != "" {
		n++
	}
	b = wire.AppendText(wire.AppendText(wire.AppendMap(b, n), "code"), fail.Code)
	b = wire.AppendText(wire.AppendText(b, "message"), valid(fail.Message))
	if fail.Hint != "" {
		b = wire.AppendText(wire.AppendText(b, "hint"), fail.Hint)
	}
	return b
}
