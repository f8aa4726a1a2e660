package agent

import (
	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/identity"
	"microsandbox/agent/internal/network"
	"microsandbox/agent/internal/root"
	"microsandbox/agent/internal/wire"
)

// Identity is what no other VM has.
type Identity struct {
	Entropy   []byte
	TimeNS    uint64
	Hostname  string
	MachineID string
}

// Setup is what the host hands over before any process starts. The names of the root are those of the identity.
type Setup struct {
	Identity
	Root    root.Options
	Network *network.Config // nil: the VM has no network interface
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
	steps := newSteps(a.loop)
	if fail == nil {
		a.phase = broken // until all of it has succeeded
		fail = a.vm.Setup(s, steps.mark)
	}
	if fail != nil {
		a.replyError(id, fail)
		return
	}
	a.phase, a.hostname = running, s.Hostname
	a.table.Upper = a.vm.Upper()
	a.reseeded(id, steps)
}

func parseIdentity(request string, who wire.Item) (i Identity, fail *failure.Failure) {
	bad := func(message string) (Identity, *failure.Failure) {
		return i, failure.New(failure.InvalidArgument, request+": "+message)
	}
	var ok bool
	if i.Entropy, ok = who.Get("entropy").Bytes(); !ok ||
		len(i.Entropy) < identity.MinEntropy || len(i.Entropy) > identity.MaxEntropy {
		return bad("entropy must have 32 to 512 bytes")
	}
	if i.TimeNS, ok = who.Get("time_ns").Uint(); !ok || i.TimeNS > 1<<63-1 {
		return bad("time_ns must be nanoseconds of Unix time")
	}
	if i.Hostname, ok = who.Get("hostname").Text(); !ok || !identity.ValidHostname(i.Hostname) {
		return bad("hostname must be a host name of at most 64 bytes")
	}
	if i.MachineID, ok = who.Get("machine_id").Text(); !ok || !identity.ValidMachineID(i.MachineID) {
		return bad("machine_id must have 32 lower-case hexadecimal digits")
	}
	return i, nil
}

func parseSetup(m wire.Item) (s Setup, fail *failure.Failure) {
	bad := func(message string) (Setup, *failure.Failure) {
		return s, failure.New(failure.InvalidArgument, "setup: "+message)
	}
	if s.Identity, fail = parseIdentity("setup", m.Get("identity")); fail != nil {
		return s, fail
	}
	s.Root.Hostname, s.Root.MachineID = s.Hostname, s.MachineID
	var ok bool
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
