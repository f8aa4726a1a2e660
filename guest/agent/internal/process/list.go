package process

import "microsandbox/agent/internal/wire"

// Has says whether a channel is open.
func (t *Table) Has(channel uint32) bool { return t.channels[channel] != nil }

// AppendList appends the hello's list of processes.
func (t *Table) AppendList(b []byte) []byte {
	b = wire.AppendArray(b, len(t.channels))
	for _, p := range t.channels {
		// The exit is told here only when the streams have ended too: before, more output may come.
		over := p.exited && p.outputs[0].ended && p.outputs[1].ended
		pairs := 5
		if over {
			pairs++
		}
		b = wire.AppendMap(b, pairs)
		b = wire.AppendUint(wire.AppendText(b, "channel"), uint64(p.channel))
		b = wire.AppendUint(wire.AppendText(b, "pid"), uint64(p.pid))
		b = wire.AppendUint(wire.AppendText(b, "stdin"), p.stdin.received)
		b = appendRange(wire.AppendText(b, "stdout"), &p.outputs[0])
		b = appendRange(wire.AppendText(b, "stderr"), &p.outputs[1])
		if over {
			b = p.appendExit(wire.AppendMap(wire.AppendText(b, "exit"), p.exitPairs()))
		}
	}
	return b
}

func appendRange(b []byte, o *output) []byte {
	return wire.AppendUint(wire.AppendUint(wire.AppendArray(b, 2), o.ring.Start()), o.ring.End())
}

// Settled says whether every stream has ended and was sent as far as the host's credit allows.
func (t *Table) Settled() bool {
	for _, p := range t.channels {
		for i := range p.outputs {
			if o := &p.outputs[i]; !o.ended || o.sendable() {
				return false
			}
		}
	}
	return true
}
