package main

import (
	"syscall"

	"microsandbox/agent/internal/agent"
	"microsandbox/agent/internal/boot"
	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/identity"
	"microsandbox/agent/internal/network"
	"microsandbox/agent/internal/root"
)

// vm does for the agent what only PID 1 of a real machine can.
type vm struct {
	random identity.Random
	count  identity.Generation
	disks  map[string]string
	fresh  *root.Upper
	root   *root.Root
	link   network.Interface
}

func newVM(m *boot.Machine) (*vm, error) {
	random, err := identity.OpenRandom()
	if err != nil {
		return nil, err
	}
	count, err := identity.OpenGeneration()
	return &vm{random: random, count: count, disks: m.Disks}, err
}

// Prepare does what need not be done after every load. The disk must hold all of it when the state is stored.
func (v *vm) Prepare(n *network.Config) (fail *failure.Failure) {
	if n != nil {
		// First, so that what the kernel then tells its neighbours is over when the state is stored.
		if fail = v.link.Configure(n); fail != nil {
			return fail
		}
		root.PrepareResolver(names(n.DNS))
	}
	if fail = root.MountImage(v.disks); fail != nil {
		return fail
	}
	v.fresh, fail = root.MountFresh(v.disks)
	syscall.Sync()
	boot.Settle()
	return fail
}

// Setup follows the protocol's order: nothing reads random numbers before the reseed.
func (v *vm) Setup(s agent.Setup, mark func(string)) (fail *failure.Failure) {
	if fail = v.become(s.Identity); fail != nil {
		return fail
	}
	mark("identity")
	if n := s.Network; n != nil {
		if fail = v.link.Configure(n); fail != nil {
			return fail
		}
		mark("network")
		s.Root.Nameservers, s.Root.Addresses = names(n.DNS), addresses(n)
	}
	v.root, fail = root.Enter(v.disks, v.fresh, s.Root, mark)
	return fail
}

// Restore follows the protocol's order, too.
func (v *vm) Restore(r agent.Restore, mark func(string)) (fail *failure.Failure) {
	if fail = v.become(r.Identity); fail != nil {
		return fail
	}
	mark("identity")
	called := root.Names{Hostname: r.Hostname, MachineID: r.MachineID}
	if r.Network != nil {
		called.Nameservers, called.Addresses = names(r.Network.DNS), addresses(r.Network)
	}
	if fail = v.root.Rename(called); fail != nil {
		return fail
	}
	mark("names")
	if fail = v.count.Set(r.Generation); fail != nil {
		return fail
	}
	mark("generation")
	if r.Network == nil && !v.link.Present() {
		return nil // nor is there anybody to be connected to
	}
	if fail = v.link.Renew(r.Network); fail != nil {
		return fail
	}
	mark("network")
	if !r.KeepConnections {
		if _, fail = network.ResetConnections(); fail != nil {
			return fail
		}
		mark("connections")
	}
	return nil
}

// become gives the VM random numbers, a clock and a name that no other has, in this order.
func (v *vm) become(i agent.Identity) (fail *failure.Failure) {
	if fail = v.random.Reseed(i.Entropy); fail != nil {
		return fail
	}
	if fail = identity.SetClock(i.TimeNS); fail != nil {
		return fail
	}
	return identity.SetHostname(i.Hostname)
}

func addresses(n *network.Config) []string {
	texts := make([]string, len(n.Addresses))
	for i, a := range n.Addresses {
		texts[i] = a.IP.String()
	}
	return texts
}

func names(list []network.IP) []string {
	texts := make([]string, len(list))
	for i, ip := range list {
		texts[i] = ip.String()
	}
	return texts
}

// Mount adds a volume or a tmpfs.
func (v *vm) Mount(m root.Mount) *failure.Failure { return v.root.Add(v.disks, m) }

// SetClock sets the wall clock of a VM that stood still.
func (v *vm) SetClock(ns uint64) *failure.Failure { return identity.SetClock(ns) }

// Upper is where the sandbox's writes go.
func (v *vm) Upper() int { return v.root.Upper() }

func (v *vm) Volumes() []root.Volume { return v.root.Volumes() }

// PowerOff ends the VM.
func (v *vm) PowerOff() {
	v.root.Leave()
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}

// SignalAll reaches every process but PID 1: kill(2) spares its caller.
func (v *vm) SignalAll(signal syscall.Signal) { _ = syscall.Kill(-1, signal) }

// Log writes to the kernel's log.
func (v *vm) Log(level, message string) { boot.Log(level, message) }
