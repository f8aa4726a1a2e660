package agent

import (
	"bytes"
	"strings"
	"testing"

	"microsandbox/agent/internal/wire"
)

// screen is a process with a terminal, as its host sees it.
type screen struct {
	*host
	channel uint32
	shown   []byte
	from    int    // what was awaited lies before
	limit   uint64 // of stdin
	sent    uint64
}

func (h *host) open(channel uint32, argv []string, more ...any) *screen {
	pty := pairs{"rows", uint64(33), "cols", uint64(77), "term", "xterm"}
	b := startMessage(nil, channel, argv, append([]any{"stdin", true, "pty", pty}, more...)...)
	b = wire.AppendCredit(b, channel, wire.Stdout, 0, 16<<20)
	h.send(wire.AppendCredit(b, channel, wire.Stderr, 0, 16<<20))
	return &screen{host: h, channel: channel}
}

// take handles one frame; what is no output is kept for wait.
func (s *screen) take() {
	s.t.Helper()
	switch f := s.next(); {
	case f.Type == wire.Credit:
		_, s.limit = wire.ParseCredit(f.Payload)
	case f.Type == wire.Data && f.Stream == wire.Stdout && len(f.Payload) > 0:
		s.shown = append(s.shown, f.Payload...)
	default:
		s.pending = append(s.pending, f)
	}
}

func (s *screen) await(text string) {
	s.t.Helper()
	for !bytes.Contains(s.shown[s.from:], []byte(text)) {
		s.take()
	}
	s.from += bytes.Index(s.shown[s.from:], []byte(text)) + len(text)
}

func (s *screen) typed(text string) {
	s.t.Helper()
	for len(text) > 0 {
		for s.sent == s.limit {
			s.take()
		}
		n := min(uint64(len(text)), s.limit-s.sent, 65536)
		s.send(wire.EndFrame(append(wire.BeginFrame(nil, s.channel, wire.Data, wire.Stdin), text[:n]...), 0))
		s.sent += n
		text = text[n:]
	}
}

func (s *screen) resize(rows, cols uint64) {
	s.send(message(nil, s.channel, "resize", "rows", rows, "cols", cols))
}

func (s *screen) end() result {
	s.t.Helper()
	r := s.wait(s.channel)
	r.out = append(s.shown, r.out...)
	return r
}

func TestTerminal(t *testing.T) {
	h := newHost(t)
	r := h.open(1, []string{"sh", "-c", "stty size; tty; echo $TERM; echo err >&2; test -t 0 -a -t 1 -a -t 2 && exit 7"}).end()
	lines := strings.Split(string(r.out), "\r\n")
	if r.code() != 7 || len(r.err) != 0 || len(lines) != 5 || lines[0] != "33 77" || !strings.HasPrefix(lines[1], "/dev/pts/") || lines[2] != "xterm" || lines[3] != "err" {
		t.Fatalf("got %q %q %d", r.out, r.err, r.code())
	}
	r = h.open(2, []string{"sh", "-c", "echo $TERM"}, "env", []string{"PATH=/usr/bin:/bin", "TERM=mine"}).end()
	if string(r.out) != "mine\r\n" {
		t.Fatalf("got %q", r.out)
	}
}

func TestTerminalKeys(t *testing.T) {
	h := newHost(t)
	s := h.open(1, []string{"sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done"})
	s.await("ready")
	s.resize(10, 20)
	s.await("10 20")
	s.typed("\x03")
	s.await("^C")
	if r := s.end(); r.last.Get("signal").Kind() != wire.Uint {
		t.Fatalf("not ended by ^C: %q %d", r.out, r.code())
	}
	s = h.open(2, []string{"sh", "-c", "echo ready; cat; echo over"})
	s.await("ready")
	s.typed("three\rfour\x04")
	s.await("four")
	s.await("four")
	s.typed("\x04")
	s.await("over")
	// Once as it was typed, once as cat saw it: ^D gives a line away without ending it, alone it ends the file.
	if r := s.end(); r.code() != 0 || strings.Count(string(r.out), "three\r\n") != 2 {
		t.Fatalf("got %q %d", r.out, r.code())
	}
}

func TestTerminalSizeUnchangedByNonsense(t *testing.T) {
	h := newHost(t)
	s := h.open(1, []string{"sh", "-c", "echo ready; read a; stty size"})
	s.await("ready")
	s.resize(0, 5)
	s.resize(5, 5000)
	s.typed("\r")
	if r := s.end(); !strings.HasSuffix(string(r.out), "33 77\r\n") {
		t.Fatalf("got %q", r.out)
	}
}

// The end of stdin is no key and no hang-up.
func TestTerminalStdinEnds(t *testing.T) {
	h := newHost(t)
	s := h.open(1, []string{"sh", "-c", "read a; echo got $a; read -t 0.2 b || read -t 0.2 c; echo still here"})
	for s.limit == 0 {
		s.take()
	}
	s.typed("line\r")
	s.send(wire.EndFrame(wire.BeginFrame(nil, 1, wire.Data, wire.Stdin), 0))
	s.await("got line")
	s.await("still here")
	if r := s.end(); r.code() != 0 {
		t.Fatalf("ended with %d", r.code())
	}
}

// More than the kernel's buffers hold, to a program that reads late; and a line that no line discipline takes.
func TestTerminalTakesAnyAmount(t *testing.T) {
	h := newHost(t)
	s := h.open(1, []string{"sh", "-c", "stty raw -echo; echo ready; sleep 0.3; head -c 600000 | wc -c; stty cooked; echo line; read a; echo ${#a}"})
	s.await("ready")
	s.typed(strings.Repeat("0123456789", 60000))
	s.await("600000")
	s.await("line")
	s.typed(strings.Repeat("x", 300000) + "\r")
	s.await("4095")
	if r := s.end(); r.code() != 0 {
		t.Fatalf("ended with %d", r.code())
	}
}

// What the session leaves in the background does not hold the exit, however much it has to say, and its terminal is hung up.
func TestTerminalLeftInBackground(t *testing.T) {
	h := newHost(t)
	dir := t.TempDir()
	script := "set -m; (trap '' HUP; while sleep 0.02; do echo noise 2>" + dir + "/refused || exit; done) & exit 3"
	if r := h.open(1, []string{"bash", "-c", script}).end(); r.code() != 3 || !strings.Contains(string(r.out), "noise") {
		t.Fatalf("got %q %d", r.out, r.code())
	}
	if r := h.run(2, []string{"sh", "-c", "until test -s " + dir + "/refused; do sleep 0.01; done"}); r.code() != 0 {
		t.Fatalf("ended with %d", r.code())
	}
}

// Output of a terminal is kept and sent again like a pipe's.
func TestTerminalReconnects(t *testing.T) {
	h := newHost(t)
	s := h.open(1, []string{"sh", "-c", "echo first; read a; echo second $a; exit 4"})
	s.await("first")
	m := h.hello(true)
	if n := m.Get("processes").Len(); n != 1 {
		t.Fatalf("%d processes", n)
	}
	b := wire.AppendCredit(nil, 1, wire.Stdout, 0, 1<<20)
	h.send(wire.AppendCredit(b, 1, wire.Stderr, 0, 1<<20))
	s = &screen{host: h, channel: 1}
	s.await("first")
	for s.limit == 0 {
		s.take()
	}
	s.typed("again\r")
	if r := s.end(); r.code() != 4 || string(r.out) != "first\r\nagain\r\nsecond again\r\n" {
		t.Fatalf("got %q %d", r.out, r.code())
	}
}
