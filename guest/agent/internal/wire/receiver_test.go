package wire

import "testing"

// A host that is cut off anywhere is followed by another, whose filler and sync sequence must be recognized at once
// and whose frames must all arrive.
func TestCutAtEveryOffset(t *testing.T) {
	control := func(b []byte, channel uint32, op string) []byte {
		start := len(b)
		b = BeginFrame(b, channel, Control, 0)
		b = AppendText(AppendText(AppendMap(b, 1), "op"), op)
		return EndFrame(b, start)
	}
	session := func(nonce string) []byte {
		b := control([]byte(Magic+nonce), 0, "hello")
		b = control(b, 1, "start")
		b = AppendCredit(b, 1, Stdout, 0, 65536)
		start := len(b)
		return EndFrame(append(BeginFrame(b, 1, Data, Stdin), make([]byte, 100)...), start)
	}
	first, second := session("first first firs"), session("second second se")
	for cut := range len(first) + 1 {
		r := NewReceiver(anyHello)
		feed(r, first[:cut], 1<<20)
		frames, _ := feed(r, append(make([]byte, MaxPayload+Overhead), second...), 4096)
		n := len(frames)
		if n < 4 || string(r.Nonce()) != "second second se" || frames[n-4].Type != Control || frames[n-1].Type != Data {
			t.Fatalf("cut after byte %d: %d frames, nonce %q", cut, n, r.Nonce())
		}
	}
}

func TestHostGoneDropsTheUnfinishedFrame(t *testing.T) {
	r := synchronized()
	b := EndFrame(append(BeginFrame(nil, 1, Data, Stdin), "abc"...), 0)
	feed(r, b[:8], 8)
	r.HostGone()
	if frames, _ := feed(r, b, 64); len(frames) != 0 || r.Synchronized() {
		t.Fatal("a frame was taken without a hello")
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	b := AppendMap(nil, 2)
	b = AppendText(AppendText(b, "op"), "signal")
	b = AppendUint(AppendText(b, "signal"), 15)
	var d Document
	allocations := testing.AllocsPerRun(100, func() {
		m, err := d.Parse(b)
		if n, _ := m.Get("signal").Uint(); err != nil || n != 15 || !m.Get("op").Is("signal") {
			t.Fatal("decoded wrongly")
		}
	})
	if allocations > 0 {
		t.Fatalf("%v allocations", allocations)
	}
}
