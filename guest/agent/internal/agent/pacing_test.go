package agent

import (
	"bytes"
	"fmt"
	"testing"

	"microsandbox/agent/internal/wire"
)

// frames starts a shell script, takes all its output and says how many frames it came in.
func (h *host) frames(channel uint32, script string) (count int, r result) {
	h.t.Helper()
	h.send(startMessage(nil, channel, []string{"sh", "-c", script}))
	for _, stream := range []byte{wire.Stdout, wire.Stderr} {
		h.send(wire.AppendCredit(nil, channel, stream, 0, 16<<20))
	}
	for {
		f := h.next()
		h.pending = append(h.pending, f)
		if f.Type == wire.Data && f.Stream == wire.Stdout {
			count++
		} else if f.Type == wire.Control && parse(h.t, f).Get("op").Is("exit") {
			return count, h.wait(channel)
		}
	}
}

func TestManySmallWritesComeInFewFrames(t *testing.T) {
	h := newHost(t)
	var want bytes.Buffer
	for i := range 20_000 {
		fmt.Fprintf(&want, "%d\n", i)
	}
	script := "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done"
	for channel, script := range []string{
		script,
		script + "; exit 3",
		"(" + script + ") & exit 3", // by a descendant that is awaited while it speaks
	} {
		count, r := h.frames(uint32(channel+1), script)
		if !bytes.Equal(r.out, want.Bytes()) {
			t.Fatalf("%s: what came is not what was written, %d bytes", script, len(r.out))
		}
		if count > 600 {
			t.Errorf("%s: 20,000 lines came in %d frames", script, count)
		}
	}
}

func TestWhoAnswersIsNotPaced(t *testing.T) {
	h := newHost(t)
	// First it speaks without end, then it answers.
	h.send(startMessage(nil, 1, []string{"sh", "-c", "i=0; while [ $i -lt 5000 ]; do echo $i; i=$((i+1)); done; while read x; do echo $x; done"}, "stdin", true))
	h.send(wire.AppendCredit(nil, 1, wire.Stdout, 0, 16<<20))
	var got []byte
	await := func(want string) {
		t.Helper()
		for !bytes.HasSuffix(got, []byte(want)) {
			if f := h.next(); f.Type == wire.Data && f.Stream == wire.Stdout {
				got = append(got, f.Payload...)
			}
		}
	}
	await("\n4999\n")
	for i := range 500 {
		word := fmt.Sprintf("word %d\n", i)
		b := append(wire.BeginFrame(nil, 1, wire.Data, wire.Stdin), word...)
		h.send(wire.EndFrame(b, 0))
		await(word)
	}
	h.send(wire.EndFrame(wire.BeginFrame(nil, 1, wire.Data, wire.Stdin), 0))
	if r := h.wait(1); r.code() != 0 {
		t.Fatalf("the shell ended with %d", r.code())
	}
}
