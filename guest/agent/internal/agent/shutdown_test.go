package agent

import (
	"testing"
	"time"

	"microsandbox/agent/internal/wire"
)

func waitOff(t *testing.T, h *host) {
	t.Helper()
	for deadline := time.Now().Add(patience); !h.vm.off.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the VM was not powered off")
		}
	}
}

func TestShutdownOfNothing(t *testing.T) {
	h := newHost(t)
	begin := time.Now()
	if n, ok := h.request("shutdown", "grace_ms", uint64(10_000)).Get("killed").Uint(); !ok || n != 0 {
		t.Fatal("killed something")
	}
	waitOff(t, h)
	if took := time.Since(begin); took > time.Second {
		t.Fatalf("took %v", took)
	}
}

func TestShutdownWaitsAndFlushes(t *testing.T) {
	h := newHost(t)
	h.send(startMessage(nil, 1, []string{"sh", "-c", "trap 'sleep 0.1; echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done"}))
	b := wire.AppendCredit(nil, 1, wire.Stdout, 0, 1000)
	h.send(wire.AppendCredit(b, 1, wire.Stderr, 0, 1000))
	for {
		if f := h.next(); f.Type == wire.Data && f.Stream == wire.Stdout {
			break
		}
	}
	m := h.request("shutdown", "grace_ms", uint64(10_000))
	if n, ok := m.Get("killed").Uint(); !ok || n != 0 {
		t.Fatalf("killed %d", n)
	}
	if r := h.wait(1); string(r.out) != "bye\n" || r.code() != 0 {
		t.Fatalf("got %q %d", r.out, r.code())
	}
	waitOff(t, h)
}

func TestShutdownKills(t *testing.T) {
	h := newHost(t)
	h.send(startMessage(nil, 1, []string{"sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.01; done"}))
	h.send(wire.AppendCredit(nil, 1, wire.Stdout, 0, 1000))
	for {
		if f := h.next(); f.Type == wire.Data && f.Stream == wire.Stdout {
			break
		}
	}
	begin := time.Now()
	h.send(message(nil, 0, "shutdown", "id", uint64(77), "grace_ms", uint64(200)))
	h.send(startMessage(nil, 2, []string{"true"}))
	if r := h.wait(2); !r.last.Get("error").Get("code").Is("invalid_state") {
		t.Fatal("a process started while shutting down")
	}
	for {
		f := h.next()
		if f.Channel == 0 {
			m := parse(t, f)
			if id, _ := m.Get("id").Uint(); id == 77 {
				if n, _ := m.Get("killed").Uint(); n == 0 {
					t.Fatal("nothing was killed")
				}
				break
			}
		}
	}
	if took := time.Since(begin); took < 200*time.Millisecond || took > 1700*time.Millisecond {
		t.Fatalf("took %v", took)
	}
	waitOff(t, h)
}
