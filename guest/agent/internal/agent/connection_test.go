package agent

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"microsandbox/agent/internal/wire"
)

func TestHello(t *testing.T) {
	h := newSilentHost(t)
	m := h.hello(false)
	if !m.Get("phase").Is("ready") || !m.Get("boot").Is("boot") || m.Get("processes").Len() != 0 {
		t.Fatal("not the hello of a guest that is ready")
	}
	if r := h.run(1, []string{"true"}); !r.last.Get("error").Get("code").Is("invalid_state") {
		t.Fatal("a process started before setup")
	}
	if fail := h.request("prepare").Get("error"); fail.Get("code").Is("invalid_state") {
		t.Fatal("it could not be prepared before setup")
	}
	if !h.request("prepare").Get("error").Get("code").Is("invalid_state") {
		t.Fatal("it was prepared twice")
	}
	if !h.setup().Get("reseeded").True() {
		t.Fatal("not reseeded")
	}
	if !h.setup().Get("error").Get("code").Is("invalid_state") {
		t.Fatal("a second setup")
	}
	if !h.hello(true).Get("phase").Is("running") {
		t.Fatal("not running")
	}
	if !h.request("nonsense").Get("error").Get("code").Is("unsupported") {
		t.Fatal("an unknown request")
	}
}

// numbered prints lines that tell where in the stream they are.
const numbered = `i=0; while [ $i -lt %d ]; do echo "line $i"; i=$((i+1)); done`

func numberedLines(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.Bytes()
}

// listed reads a process's entry in the hello.
func listed(t *testing.T, hello wire.Item, channel uint64) wire.Item {
	t.Helper()
	list := hello.Get("processes")
	for i, p := 0, list.First(); i < list.Len(); i, p = i+1, p.Next() {
		if n, _ := p.Get("channel").Uint(); n == channel {
			return p
		}
	}
	t.Fatalf("the hello does not list channel %d", channel)
	return wire.Item{}
}

// The stream from agent to host is cut after every byte of a session in turn; the next host goes on from what the
// one before had taken. No byte of output may be lost or doubled, and the exit must come.
func TestCutAtEveryByte(t *testing.T) {
	const lines = 12
	want := numberedLines(lines)
	h := newHost(t)
	channel := uint32(0)
	for cut, done := 0, false; !done; cut++ {
		channel++
		start := startMessage(nil, channel, []string{"sh", "-c", fmt.Sprintf(numbered, lines)})
		start = wire.AppendCredit(start, channel, wire.Stdout, 0, 16<<20)
		start = wire.AppendCredit(start, channel, wire.Stderr, 0, 16<<20)
		h.send(start)
		var got []byte
		var exited bool
		// The first host reads no more than cut bytes, and takes what is complete in them.
		for budget := cut; budget > 0 && !exited; {
			f, event := h.receiver.Next()
			if event == wire.Nothing {
				n, err := readUpTo(h, budget)
				if err != nil {
					t.Fatal(err)
				}
				budget -= n
				continue
			}
			if f.Channel == channel && f.Type == wire.Data && f.Stream == wire.Stdout {
				got = append(got, f.Payload...)
			}
			exited = exited || f.Channel == channel && f.Type == wire.Control && parse(t, f).Get("op").Is("exit")
		}
		done = exited
		// The second host was cut in the middle of its greeting now and then, too.
		b, nonce := greeting(true)
		if cut%3 == 1 {
			h.send(b[len(b)-(cut%len(b[wire.MaxPayload:])):])
			b, nonce = greeting(true)
		}
		go h.send(b)
		hello := h.awaitHello(nonce)
		p := listed(t, hello, uint64(channel))
		if from, _ := p.Get("stdout").First().Uint(); from > uint64(len(got)) {
			t.Fatalf("cut %d: output before %d is lost, the host has %d", cut, from, len(got))
		}
		b = wire.AppendCredit(nil, channel, wire.Stdout, uint64(len(got)), 16<<20)
		h.send(wire.AppendCredit(b, channel, wire.Stderr, 0, 16<<20))
		r := h.wait(channel)
		if got = append(got, r.out...); !bytes.Equal(got, want) || r.code() != 0 {
			t.Fatalf("cut %d: got %q, %d", cut, got, r.code())
		}
		h.send(message(nil, channel, "close"))
	}
	if channel < 150 {
		t.Fatalf("only %d cuts", channel)
	}
}

func readUpTo(h *host, n int) (int, error) {
	space := h.receiver.Space()
	n, err := readFD(h.fd, space[:min(n, len(space))])
	if n > 0 {
		h.receiver.Filled(n)
	}
	return n, err
}

func TestBackpressureHoldsTheProcess(t *testing.T) {
	h := newHost(t)
	const size = 8 << 20
	h.send(startMessage(nil, 1, []string{"sh", "-c", fmt.Sprintf("head -c %d /dev/zero; echo done >&2", size)}))
	b := wire.AppendCredit(nil, 1, wire.Stdout, 0, 100)
	h.send(wire.AppendCredit(b, 1, wire.Stderr, 0, 1000))
	time.Sleep(100 * time.Millisecond)
	got := uint64(0)
	for {
		f := h.next()
		if f.Type == wire.Data && f.Stream == wire.Stdout {
			if got += uint64(len(f.Payload)); got == 100 {
				break
			}
			if got > 100 {
				t.Fatal("data beyond credit")
			}
		}
		if f.Stream == wire.Stderr {
			t.Fatal("the process did not wait")
		}
	}
	limit := uint64(100)
	for got < size {
		limit = got + 300_000
		h.send(wire.AppendCredit(nil, 1, wire.Stdout, got, limit))
		for got < min(limit, size) {
			f := h.next()
			if f.Type == wire.Data && f.Stream == wire.Stdout {
				got += uint64(len(f.Payload))
			} else {
				h.pending = append(h.pending, f)
			}
		}
		if got > limit {
			t.Fatal("data beyond credit")
		}
	}
	if r := h.wait(1); string(r.err) != "done\n" || r.code() != 0 {
		t.Fatalf("got %q", r.err)
	}
}

// Without a host the process runs on, and the hello tells what was dropped.
func TestOldestIsDroppedWithoutAHost(t *testing.T) {
	const lines = 150_000
	want := numberedLines(lines)
	for _, how := range []string{"gone", "hunting"} {
		h := newHost(t)
		h.send(startMessage(nil, 1, []string{"sh", "-c", fmt.Sprintf(numbered, lines)}))
		h.request("ping")
		if how == "gone" {
			h.port.absent.Store(true)
		}
		h.send([]byte("nonsense that makes the agent hunt"))
		// The process ends although nobody reads.
		var hello wire.Item
		for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the process did not run on")
			}
			h.port.absent.Store(false)
			hello = h.hello(true)
			if listed(t, hello, 1).Get("exit").Kind() != wire.Absent {
				break
			}
			if how == "gone" {
				h.port.absent.Store(true)
			}
			h.send([]byte("nonsense that makes the agent hunt"))
		}
		start, _ := listed(t, hello, 1).Get("stdout").First().Uint()
		end, _ := listed(t, hello, 1).Get("stdout").First().Next().Uint()
		if end != uint64(len(want)) || end-start > 1<<20 || end-start < 1<<19 {
			t.Fatalf("%s: holds %d to %d of %d", how, start, end, len(want))
		}
		b := wire.AppendCredit(nil, 1, wire.Stdout, 0, 16<<20)
		h.send(wire.AppendCredit(b, 1, wire.Stderr, 0, 16<<20))
		if r := h.wait(1); !bytes.Equal(r.out, want[start:]) || r.code() != 0 {
			t.Fatalf("%s: got %d bytes", how, len(r.out))
		}
	}
}

func TestExitIsToldAgain(t *testing.T) {
	h := newHost(t)
	r := h.run(1, []string{"sh", "-c", "echo hi; exit 5"})
	if r.code() != 5 {
		t.Fatal("no exit")
	}
	hello := h.hello(true)
	if code, _ := listed(t, hello, 1).Get("exit").Get("code").Uint(); code != 5 {
		t.Fatal("no exit in the hello")
	}
	b := wire.AppendCredit(nil, 1, wire.Stdout, 3, 1000)
	h.send(wire.AppendCredit(b, 1, wire.Stderr, 0, 1000))
	if r = h.wait(1); r.code() != 5 || len(r.out) != 0 {
		t.Fatalf("got %q %d", r.out, r.code())
	}
	h.send(message(nil, 1, "close"))
	if h.hello(true).Get("processes").Len() != 0 {
		t.Fatal("a closed channel is listed")
	}
}

func TestFairness(t *testing.T) {
	h := newHost(t)
	for channel := uint32(1); channel <= 2; channel++ {
		h.send(startMessage(nil, channel, []string{"sh", "-c", "cat /dev/zero"}))
		h.send(wire.AppendCredit(nil, channel, wire.Stdout, 0, 16<<20))
	}
	// Beside two streams without end a request and a small process are answered at once.
	begin := time.Now()
	h.send(startMessage(nil, 3, []string{"echo", "hi"}))
	b := wire.AppendCredit(nil, 3, wire.Stdout, 0, 1000)
	h.send(wire.AppendCredit(b, 3, wire.Stderr, 0, 1000))
	got, acked, done := [4]uint64{}, [4]uint64{}, false
	for !done {
		f := h.next()
		if f.Type == wire.Data && f.Channel < 3 {
			got[f.Channel] += uint64(len(f.Payload))
			if got[f.Channel]-acked[f.Channel] > 1<<20 {
				acked[f.Channel] = got[f.Channel]
				h.send(wire.AppendCredit(nil, f.Channel, wire.Stdout, got[f.Channel], got[f.Channel]+16<<20))
			}
		}
		done = f.Channel == 3 && f.Type == wire.Control && parse(t, f).Get("op").Is("exit")
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Fatalf("the small process took %v", took)
	}
}

func TestViolationsAreSurvived(t *testing.T) {
	h := newHost(t)
	var b []byte
	frame := func(channel uint32, typ, stream byte, payload string) {
		start := len(b)
		b = wire.EndFrame(append(wire.BeginFrame(b, channel, typ, stream), payload...), start)
	}
	frame(0, wire.Control, 0, "\xff\xff")
	frame(0, wire.Control, 0, "\x80")
	frame(0, wire.Data, 0, "x")
	frame(9, wire.Data, 0, "x")
	frame(9, wire.Data, 2, "")
	frame(9, wire.Control, 0, "\xa1\x62op\x65close")
	frame(9, wire.Control, 0, "\xa1\x62op\x65start")
	b = wire.AppendCredit(b, 9, 1, 5, 3)
	b = wire.AppendCredit(b, 0, 0, 0, 3)
	b = message(b, 0, "hello", "version", uint64(1))
	b = message(b, 0, "ping")
	b = message(b, 0, "ping", "id", uint64(0))
	b = message(b, 9, "signal", "signal", uint64(1<<63))
	h.send(b)
	if r := h.run(1, []string{"echo", "hi"}); r.code() != 0 || string(r.out) != "hi\n" {
		t.Fatal("the agent is confused")
	}
}
