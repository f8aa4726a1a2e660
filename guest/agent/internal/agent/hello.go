package agent

import (
	"microsandbox/agent/internal/wire"
)

// capabilities are what this agent can do beside what every agent can.
var capabilities = [...]string{
	"changes",
	"tree",
	"pty",
	"stats",
	"archive",
	"extract",
	"files",
	"folder",
	"network",
	"owners",
	"states",
	"watch",
}

// Hello answers a host: from here on its connection counts.
func (a *Agent) Hello(f wire.Frame, nonce []byte) {
	a.connection++
	a.standstill.connected()
	a.table.EndBuiltins()
	version := uint64(0)
	if m, err := a.document.Parse(f.Payload); err == nil {
		if v, _ := m.Get("version").Uint(); v >= protocolVersion {
			version = protocolVersion
		}
	}
	phase := "ready"
	if a.phase >= running {
		phase = "running"
	}
	a.link.Raw([]byte(wire.Magic), nonce)
	still := a.standstill.pace != moving
	pairs := 7
	if still {
		pairs++
	}
	b := wire.AppendText(wire.AppendText(wire.AppendMap(a.link.Begin(0), pairs), "op"), "hello")
	b = wire.AppendUint(wire.AppendText(b, "version"), version)
	b = wire.AppendText(wire.AppendText(b, "agent"), Version)
	b = wire.AppendArray(wire.AppendText(b, "capabilities"), len(capabilities))
	for _, c := range capabilities {
		b = wire.AppendText(b, c)
	}
	b = wire.AppendText(wire.AppendText(b, "phase"), phase)
	b = wire.AppendText(wire.AppendText(b, "boot"), a.boot)
	if still {
		b = wire.AppendBool(wire.AppendText(b, "frozen"), true)
	}
	b = wire.AppendText(b, "processes")
	a.link.End(a.table.AppendList(b))
	a.table.Connected()
	a.logs.flush(a)
	a.memory.flush()
}
