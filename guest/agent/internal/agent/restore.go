package agent

import (
	"time"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/network"
	"microsandbox/agent/internal/wire"
)

// Restore is what a VM that was loaded from the state of a sandbox becomes before a user process runs in it.
type Restore struct {
	Identity
	// Generation counts the restores of all that led to this VM.
	Generation uint64
	Network    *network.Config // nil: the VM has no network interface, or it stays as it is
	// KeepConnections leaves TCP connections to others as they are.
	KeepConnections bool
}

// restore answers once nothing is left in the VM that another one of the same state has too.
func (a *Agent) restore(id uint64, m wire.Item) {
	if a.phase != running || a.standstill.pace != frozen || a.standstill.hooks.running {
		a.replyError(id, failure.New(failure.InvalidState, "restore: user processes do not stand still"))
		return
	}
	r, fail := parseRestore(m)
	steps := newSteps(a.loop)
	a.phase = broken // until all of it has succeeded: a thaw may be waiting behind it
	if fail == nil {
		fail = a.vm.Restore(r, steps.mark)
	}
	if fail != nil {
		a.replyError(id, fail)
		return
	}
	a.phase, a.hostname, a.generation = running, r.Hostname, r.Generation
	a.reseeded(id, steps)
}

func parseRestore(m wire.Item) (r Restore, fail *failure.Failure) {
	if r.Identity, fail = parseIdentity("restore", m.Get("identity")); fail != nil {
		return r, fail
	}
	var ok bool
	if r.Generation, ok = m.Get("generation").Uint(); !ok {
		return r, failure.New(failure.InvalidArgument, "restore: generation must be a number")
	}
	r.KeepConnections = m.Get("keep_connections").True()
	r.Network, fail = parseNetwork(m.Get("network"))
	return r, fail
}

// reseeded acknowledges a setup or a restore: the random generator is the VM's own.
func (a *Agent) reseeded(id uint64, steps *steps) {
	b := a.reply(id, 3)
	b = wire.AppendBool(wire.AppendText(b, "reseeded"), true)
	b = wire.AppendUint(wire.AppendText(b, "time_ns"), nanoseconds())
	b = wire.AppendMap(wire.AppendText(b, "timings"), len(steps.list)+1)
	for _, s := range steps.list {
		b = wire.AppendUint(wire.AppendText(b, s.name), uint64(s.took/time.Microsecond))
	}
	a.link.End(wire.AppendUint(wire.AppendText(b, "total"), uint64((steps.loop.Now()-steps.begin)/time.Microsecond)))
}
