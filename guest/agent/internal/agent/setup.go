package agent

import (
	"time"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/identity"
	"microsandbox/agent/internal/network"
	"microsandbox/agent/internal/root"
	"microsandbox/agent/internal/wire"
)

// Setup is what the host hands over before any process starts.
type Setup struct {
	Entropy []byte
	TimeNS  uint64
	Root    root.Options
	Network *network.Config // nil: the VM has no network interface
}

// step is one of setup's timings.
type step struct {
	name string
	took time.Duration
}

// prepare comes before the state is stored; once, since a second one would mount again.
func (a *Agent) prepare(id uint64, m wire.Item) {
	if a.phase != ready || a.prepared {
		a.replyError(id, failure.New(failure.InvalidState, "the guest has been prepared or set up already"))
		return
	}
	config, fail := parseNetwork(m.Get("network"))
	if fail != nil {
		a.replyError(id, fail)
		return
	}
	a.prepared = true
	if fail := a.vm.Prepare(config); fail != nil {
		a.phase = broken
		a.replyError(id, fail)
		return
	}
	a.link.End(a.reply(id, 0))
}

func (a *Agent) setup(id uint64, m wire.Item) {
	if a.phase != ready {
		a.replyError(id, failure.New(failure.InvalidState, "the sandbox has been set up already"))
		return
	}
	s, fail := parseSetup(m)
	steps := make([]step, 0, 16)
	begin := a.loop.Now()
	if fail == nil {
		a.phase = broken // until all of it has succeeded
		last := begin
		fail = a.vm.Setup(s, func(name string) {
			now := a.loop.Now()
			steps = append(steps, step{name, now - last})
			last = now
		})
	}
	if fail != nil {
		a.replyError(id, fail)
		return
	}
	a.phase = running
	a.table.Upper = a.vm.Upper()
	steps = append(steps, step{"total", a.loop.Now() - begin})
	b := a.reply(id, 3)
	b = wire.AppendBool(wire.AppendText(b, "reseeded"), true)
	b = wire.AppendUint(wire.AppendText(b, "time_ns"), nanoseconds())
	b = wire.AppendMap(wire.AppendText(b, "timings"), len(steps))
	for _, s := range steps {
		b = wire.AppendUint(wire.AppendText(b, s.name), uint64(s.took/time.Microsecond))
	}
	a.link.End(b)
}

func parseSetup(m wire.Item) (s Setup, fail *failure.Failure) {
	bad := func(message string) (Setup, *failure.Failure) {
		return s, failure.New(failure.InvalidArgument, "setup: "+message)
	}
	who := m.Get("identity")
	var ok bool
	if s.Entropy, ok = who.Get("entropy").Bytes(); !ok ||
		len(s.Entropy) < identity.MinEntropy || len(s.Entropy) > identity.MaxEntropy {
		return bad("entropy must have 32 to 512 bytes")
	}
	if s.TimeNS, ok = who.Get("time_ns").Uint(); !ok || s.TimeNS > 1<<63-1 {
		return bad("time_ns must be nanoseconds of Unix time")
	}
	if s.Root.Hostname, ok = who.Get("hostname").Text(); !ok || !identity.ValidHostname(s.Root.Hostname) {
		return bad("hostname must be a host name of at most 64 bytes")
	}
	if s.Root.MachineID, ok = who.Get("machine_id").Text(); !ok || !identity.ValidMachineID(s.Root.MachineID) {
		return bad("machine_id must have 32 lower-case hexadecimal digits")
	}
	upper := m.Get("root").Get("upper")
	s.Root.Kept = upper.Is("kept")
	if !s.Root.Kept && !upper.Is("fresh") {
		return bad("root.upper must be \"fresh\" or \"kept\"")
	}
	if s.Root.UpperSize, ok = m.Get("root").Get("upper_size").Uint(); !ok {
		return bad("root.upper_size must be a number of bytes")
	}
	hosts := m.Get("hosts")
	key := hosts.First()
	for range hosts.Len() {
		value := key.Next()
		var h root.Host
		h.Name, _ = key.Text()
		h.Address, _ = value.Text()
		if !h.Valid() {
			return bad("hosts: not a name and an address: " + h.Name)
		}
		s.Root.Hosts = append(s.Root.Hosts, h)
		key = value.Next()
	}
	s.Network, fail = parseNetwork(m.Get("network"))
	return s, fail
}
