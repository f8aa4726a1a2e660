package agent

import (
	"strings"
	"testing"

	"microsandbox/agent/internal/wire"
)

// request sends a request and returns its reply; other frames are kept for later.
func (h *host) request(op string, more ...any) wire.Item {
	h.t.Helper()
	return h.reply(h.ask(op, more...))
}

// ask sends a request and returns its id.
func (h *host) ask(op string, more ...any) uint64 {
	h.t.Helper()
	h.id++
	h.send(message(nil, 0, op, append([]any{"id", h.id}, more...)...))
	return h.id
}

// reply waits for the reply to a request; the frames before it are kept for later.
func (h *host) reply(id uint64) wire.Item {
	h.t.Helper()
	for i, f := range h.pending {
		if m, is := answers(h.t, f, id); is {
			h.pending = append(h.pending[:i:i], h.pending[i+1:]...)
			return m
		}
	}
	for {
		f := h.next()
		if m, is := answers(h.t, f, id); is {
			return m
		}
		h.pending = append(h.pending, f)
	}
}

// answers says whether a frame is the reply to a request.
func answers(t *testing.T, f wire.Frame, id uint64) (m wire.Item, is bool) {
	if f.Channel != 0 || f.Type != wire.Control {
		return m, false
	}
	m = parse(t, f)
	n, _ := m.Get("id").Uint()
	return m, n == id
}

func (h *host) setup() wire.Item {
	h.t.Helper()
	return h.request("setup",
		"identity", pairs{"entropy", make([]byte, 32), "time_ns", uint64(1), "hostname", "box", "machine_id", strings.Repeat("0", 32)},
		"root", pairs{"upper", "fresh", "upper_size", uint64(0)})
}

func expectOK(t *testing.T, reply wire.Item) {
	t.Helper()
	if fail := reply.Get("error"); fail.Kind() != wire.Absent {
		message, _ := fail.Get("message").Text()
		t.Fatal(message)
	}
}

func expectCode(t *testing.T, reply wire.Item, code string) {
	t.Helper()
	if got := reply.Get("error").Get("code"); !got.Is(code) {
		is, _ := got.Text()
		t.Fatalf("%q, not %q", is, code)
	}
}
