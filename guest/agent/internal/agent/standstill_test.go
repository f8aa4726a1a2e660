package agent

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/loop"
)

// fakeFreezer stands for the control group: processes come to rest when the test says so.
type fakeFreezer struct {
	told, still atomic.Bool
	events      [2]int // a pipe: its end is what the agent watches
	fail        error
}

func (f *fakeFreezer) Freeze() error {
	f.told.Store(true)
	return f.fail
}

func (f *fakeFreezer) Thaw() error {
	f.told.Store(false)
	f.still.Store(false)
	return nil
}

func (f *fakeFreezer) Frozen() bool { return f.still.Load() }

func (f *fakeFreezer) FreezeEvents() (int, uint32) { return f.events[0], loop.Readable }

// rest says that all processes stand still.
func (f *fakeFreezer) rest() {
	f.still.Store(true)
	_, _ = syscall.Write(f.events[1], []byte{0})
}

func newFreezableHost(t *testing.T) (*host, *fakeFreezer) {
	return newHostWithHooks(t, HookSettings{Folder: "/nonexistent"})
}

func newHostWithHooks(t *testing.T, hooks HookSettings) (*host, *fakeFreezer) {
	f := &fakeFreezer{}
	if err := syscall.Pipe2(f.events[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Close(f.events[0])
		_ = syscall.Close(f.events[1])
	})
	h := newHostWith(t, Settings{Freezer: f, Hooks: hooks})
	h.hello(false)
	h.setup()
	return h, f
}

// frozenHost is one whose processes stand still.
func frozenHost(t *testing.T) (*host, *fakeFreezer) {
	h, f := newFreezableHost(t)
	f.still.Store(true)
	expectOK(t, h.request("freeze", "timeout_ms", uint64(10_000)))
	return h, f
}

func TestFreezeIsAnsweredWhenAllStandStill(t *testing.T) {
	h, f := newFreezableHost(t)
	id := h.ask("freeze", "timeout_ms", uint64(20_000))
	// The agent serves on: it is what processes may need to come to rest.
	h.request("ping")
	if !f.told.Load() {
		t.Fatal("processes were not told to stand still")
	}
	expectCode(t, h.request("freeze", "timeout_ms", uint64(1)), failure.InvalidState)
	f.rest()
	expectOK(t, h.reply(id))
	expectOK(t, h.request("freeze", "timeout_ms", uint64(0)))
}

func TestNothingStartsWhileFrozen(t *testing.T) {
	h, f := frozenHost(t)
	for _, more := range [][]any{nil, {"builtin", "files"}} {
		r := h.run(7, []string{"true"}, more...)
		if r.op != "failed" || !r.last.Get("error").Get("code").Is(failure.InvalidState) {
			t.Fatalf("%v: %s", more, r.op)
		}
	}
	expectOK(t, h.request("thaw", "hooks", false))
	if f.told.Load() {
		t.Fatal("processes still stand still")
	}
	if r := h.run(8, []string{"true"}); r.code() != 0 {
		t.Fatal(r.op)
	}
}

func TestNothingStartsWhileFreezing(t *testing.T) {
	h, f := newFreezableHost(t)
	id := h.ask("freeze", "timeout_ms", uint64(20_000))
	if r := h.run(7, []string{"true"}); r.op != "failed" {
		t.Fatal(r.op)
	}
	f.rest()
	expectOK(t, h.reply(id))
}

func TestFreezeThatTakesTooLongIsUndone(t *testing.T) {
	h, f := newFreezableHost(t)
	expectCode(t, h.request("freeze", "timeout_ms", uint64(1)), failure.Timeout)
	if f.told.Load() {
		t.Fatal("processes stand still")
	}
	// What comes to rest later is no answer to anything.
	f.rest()
	if r := h.run(7, []string{"true"}); r.code() != 0 {
		t.Fatal(r.op)
	}
}

func TestFreezeThatCannotBe(t *testing.T) {
	h := newSilentHost(t)
	h.hello(false)
	expectCode(t, h.request("freeze", "timeout_ms", uint64(1)), failure.InvalidState)
	h.setup()
	expectCode(t, h.request("freeze", "timeout_ms", uint64(1)), failure.Unsupported)
	h, f := newFreezableHost(t)
	expectCode(t, h.request("freeze"), failure.InvalidArgument)
	f.fail = errors.New("no such group")
	expectCode(t, h.request("freeze", "timeout_ms", uint64(1)), failure.Internal)
	if r := h.run(7, []string{"true"}); r.code() != 0 {
		t.Fatal(r.op)
	}
}

func TestThawWhileFreezing(t *testing.T) {
	h, f := newFreezableHost(t)
	id := h.ask("freeze", "timeout_ms", uint64(20_000))
	thaw := h.ask("thaw", "hooks", false)
	expectCode(t, h.reply(id), failure.InvalidState)
	expectOK(t, h.reply(thaw))
	if f.told.Load() {
		t.Fatal("processes were not told to go on")
	}
	expectOK(t, h.request("thaw", "hooks", false))
}

func TestHelloTellsOfFrozen(t *testing.T) {
	h, f := frozenHost(t)
	if !h.hello(true).Get("frozen").True() {
		t.Fatal("the hello does not tell")
	}
	expectOK(t, h.request("thaw", "hooks", false))
	if h.hello(true).Get("frozen").True() {
		t.Fatal("the hello tells it still")
	}
	// A freeze that nobody waits for any more is undone.
	h.ask("freeze", "timeout_ms", uint64(20_000))
	if h.hello(true).Get("frozen").True() || f.told.Load() {
		t.Fatal("frozen for nobody")
	}
}

func TestShutdownThaws(t *testing.T) {
	h, f := frozenHost(t)
	h.request("shutdown", "grace_ms", uint64(0))
	waitOff(t, h)
	if f.told.Load() {
		t.Fatal("what stands still does not get the signal")
	}
}

var reborn = pairs{"entropy", []byte(strings.Repeat("e", 32)), "time_ns", uint64(2), "hostname", "box-2", "machine_id", strings.Repeat("a", 32)}

func TestRestoreHandsOver(t *testing.T) {
	h, _ := frozenHost(t)
	r := h.request("restore", "identity", reborn, "generation", uint64(3), "keep_connections", true, "network", wired)
	if !r.Get("reseeded").True() || r.Get("timings").Len() != 2 {
		t.Fatal("not acknowledged")
	}
	got := h.vm.restored[0]
	if string(got.Entropy) != strings.Repeat("e", 32) || got.TimeNS != 2 || got.Hostname != "box-2" ||
		got.MachineID != strings.Repeat("a", 32) || got.Generation != 3 || !got.KeepConnections || got.Network.MTU != 9000 {
		t.Fatalf("%+v", got)
	}
	h.request("restore", "identity", reborn, "generation", uint64(4))
	if got := h.vm.restored[1]; got.Network != nil || got.KeepConnections || got.Generation != 4 {
		t.Fatalf("%+v", got)
	}
	expectOK(t, h.request("thaw", "hooks", false))
}

func TestRestoreOnlyWhileFrozen(t *testing.T) {
	h, f := newFreezableHost(t)
	expectCode(t, h.request("restore", "identity", reborn, "generation", uint64(1)), failure.InvalidState)
	id := h.ask("freeze", "timeout_ms", uint64(20_000))
	expectCode(t, h.request("restore", "identity", reborn, "generation", uint64(1)), failure.InvalidState)
	f.rest()
	expectOK(t, h.reply(id))
	expectOK(t, h.request("restore", "identity", reborn, "generation", uint64(1)))
}

func TestNothingGoesOnAfterARestoreThatIsWrong(t *testing.T) {
	for _, wrong := range [][]any{
		{"generation", uint64(1)},
		{"identity", reborn},
		{"identity", reborn, "generation", "1"},
		{"identity", append(pairs{"entropy", []byte("short")}, reborn[2:]...), "generation", uint64(1)},
		{"identity", reborn, "generation", uint64(1), "network", pairs{}},
	} {
		h, f := frozenHost(t)
		expectCode(t, h.request("restore", wrong...), failure.InvalidArgument)
		if len(h.vm.restored) != 0 {
			t.Fatal("restored all the same")
		}
		expectCode(t, h.request("thaw", "hooks", false), failure.InvalidState)
		if !f.told.Load() {
			t.Fatal("processes go on")
		}
	}
}

func TestNothingGoesOnAfterARestoreThatFailed(t *testing.T) {
	h, f := frozenHost(t)
	h.vm.restore = failure.New(failure.Internal, "no entropy")
	expectCode(t, h.request("restore", "identity", reborn, "generation", uint64(1)), failure.Internal)
	expectCode(t, h.request("thaw", "hooks", false), failure.InvalidState)
	expectCode(t, h.request("restore", "identity", reborn, "generation", uint64(1)), failure.InvalidState)
	if !f.told.Load() {
		t.Fatal("processes go on")
	}
	if r := h.run(7, []string{"true"}); r.op != "failed" {
		t.Fatal(r.op)
	}
}
