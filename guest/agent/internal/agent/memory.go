package agent

import (
	"syscall"
	"time"

	"microsandbox/agent/internal/cgroup"
	"microsandbox/agent/internal/wire"
)

// memory tells the host of processes that the kernel has killed because user processes had used up their memory. Nothing
// happens here until the kernel says that something has.
type memory struct {
	agent  *Agent
	groups *cgroup.Groups
	kills  uint64
	told   uint64
	last   time.Duration // when kills last rose
}

// dying is how long a process may take to be gone that the kernel has killed: it gives back its memory first.
const dying = 5 * time.Second

func (m *memory) init(a *Agent, groups *cgroup.Groups) {
	m.agent, m.groups = a, groups
	m.kills = groups.Kills() // what was read is not reported
	m.told = m.kills
	a.table.OutOfMemory = m.now
	if err := a.loop.Watch(groups.Events(), syscall.EPOLLPRI, m); err != nil {
		a.Log("warn", "memory events cannot be watched: "+err.Error())
	}
}

// Ready is called when the group's memory events have changed: the limit was met, or a process was killed.
func (m *memory) Ready(uint32) {
	m.look()
	m.flush()
}

func (m *memory) look() {
	if kills := m.groups.Kills(); kills > m.kills {
		m.kills, m.last = kills, m.agent.loop.Now()
	}
}

// now says whether the kernel has just killed.
func (m *memory) now() bool {
	m.look()
	return m.last > 0 && m.agent.loop.Now()-m.last < dying
}

func (m *memory) flush() {
	a := m.agent
	if m.groups == nil || m.kills == m.told || !a.link.Connected() {
		return
	}
	b := wire.AppendText(wire.AppendText(wire.AppendMap(a.link.Begin(0), 2), "op"), "oom")
	a.link.End(wire.AppendUint(wire.AppendText(b, "kills"), m.kills-m.told))
	m.told = m.kills
}
