package agent

import (
	"strconv"
	"strings"

	"microsandbox/agent/internal/wire"
)

// maxLogs is how many log messages wait for a host.
const maxLogs = 64

// logs are the messages that no host has taken yet.
type logs struct {
	queue   []entry
	dropped int
}

type entry struct{ level, message string }

// Log tells the host and the kernel's log. A message that finds no host waits.
func (a *Agent) Log(level, message string) {
	message = valid(message)
	a.vm.Log(level, message)
	if len(a.logs.queue) == maxLogs {
		a.logs.dropped++
		return
	}
	if n := a.logs.dropped; n > 0 {
		message += " (" + strconv.Itoa(n) + " messages before this one were dropped)"
		a.logs.dropped = 0
	}
	a.logs.queue = append(a.logs.queue, entry{level, message})
	a.logs.flush(a)
}

func (l *logs) flush(a *Agent) {
	if !a.link.Connected() {
		return
	}
	for _, e := range l.queue {
		b := wire.AppendText(wire.AppendText(wire.AppendMap(a.link.Begin(0), 3), "op"), "log")
		b = wire.AppendText(wire.AppendText(b, "level"), e.level)
		a.link.End(wire.AppendText(wire.AppendText(b, "message"), e.message))
	}
	l.queue = l.queue[:0]
}

// valid makes a text that CBOR may carry of what may contain anything: a file's name.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
