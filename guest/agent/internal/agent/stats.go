package agent

import (
	"microsandbox/agent/internal/stats"
	"microsandbox/agent/internal/wire"
)

// stats answers with what the kernel counts.
func (a *Agent) stats(id uint64) {
	upper := -1
	if a.phase >= running {
		upper = a.vm.Upper()
	}
	s := stats.Read(upper)
	b := a.reply(id, 7)
	b = wire.AppendUint(wire.AppendText(b, "cpu_us"), s.CPU)
	b = wire.AppendUint(wire.AppendText(b, "processes"), a.memory.groups.Processes())
	b = appendNumbers(wire.AppendText(b, "memory"),
		[]string{"total", "available", "cache"}, []uint64{s.Memory.Total, s.Memory.Available, s.Memory.Cache})
	b = appendDisk(wire.AppendText(b, "disk"), s.Disk)
	volumes := a.vm.Volumes()
	b = wire.AppendMap(wire.AppendText(b, "volumes"), len(volumes))
	for _, v := range volumes {
		b = appendDisk(wire.AppendText(b, v.Disk), stats.Space(v.Dir))
	}
	b = appendNumbers(wire.AppendText(b, "network"), []string{"received", "sent"}, []uint64{s.Received, s.Sent})
	b = wire.AppendMap(wire.AppendText(b, "pressure"), 3)
	b = appendPressure(wire.AppendText(b, "cpu"), s.CPUWait)
	b = appendPressure(wire.AppendText(b, "memory"), s.MemoryWait)
	a.link.End(appendPressure(wire.AppendText(b, "io"), s.IOWait))
}

func appendDisk(b []byte, d stats.Disk) []byte {
	return appendNumbers(b, []string{"total", "used", "available"}, []uint64{d.Total, d.Used, d.Available})
}

func appendPressure(b []byte, p stats.Pressure) []byte {
	return appendNumbers(b, []string{"some_recent", "some_us", "full_recent", "full_us"},
		[]uint64{p.Some.Recent, p.Some.Total, p.Full.Recent, p.Full.Total})
}

func appendNumbers(b []byte, names []string, values []uint64) []byte {
	b = wire.AppendMap(b, len(names))
	for i, name := range names {
		b = wire.AppendUint(wire.AppendText(b, name), values[i])
	}
	return b
}
