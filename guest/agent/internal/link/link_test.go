package link

import (
	"syscall"
	"testing"

	"microsandbox/agent/internal/loop"
	"microsandbox/agent/internal/wire"
)

// recorder is a port that takes everything, or nothing.
type recorder struct {
	fd      int
	written []byte
	full    bool
	room    int // if not 0: how much it takes before it is full
}

func (r *recorder) Descriptor() int          { return r.fd }
func (r *recorder) Read([]byte) (int, error) { return -1, syscall.EAGAIN }
func (r *recorder) Write(b []byte) (int, error) {
	if r.full || r.room > 0 && len(r.written) >= r.room {
		return -1, syscall.EAGAIN
	}
	n := min(len(b), 1000) // cut, as a port may
	r.written = append(r.written, b[:n]...)
	return n, nil
}

type nobody struct{}

func (nobody) Hello(wire.Frame, []byte) {}
func (nobody) Message(wire.Frame)       {}
func (nobody) Gone()                    {}

// endless always has something to send.
type endless struct {
	channel uint32
	left    int
}

func (e *endless) Emit(out []byte, room int) ([]byte, bool) {
	start := len(out)
	out = append(wire.BeginFrame(out, e.channel, wire.Data, wire.Stdout), make([]byte, room)...)
	e.left--
	return wire.EndFrame(out, start), e.left > 0
}

func newLink(t *testing.T) (*Link, *recorder) {
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	port := &recorder{fd: fds[0]}
	k, err := Open(l, port, nobody{}, func(wire.Frame) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	k.open = true
	return k, port
}

// frames reads what a port was given, as the host would.
func frames(t *testing.T, b []byte) (channels []uint32, control []int) {
	r := wire.NewReceiver(func(wire.Frame) bool { return true })
	hello := wire.EndFrame(wire.BeginFrame(nil, 0, wire.Control, 0), 0)
	b = append(append([]byte(wire.Magic+"0123456789abcdef"), hello...), b...)
	for len(b) > 0 {
		n := copy(r.Space(), b)
		r.Filled(n)
		b = b[n:]
		for {
			f, event := r.Next()
			if event == wire.Nothing {
				break
			}
			switch {
			case event == wire.Lost:
				t.Fatal("not frames")
			case event == wire.Message && f.Type == wire.Control:
				control = append(control, len(channels))
			case event == wire.Message:
				channels = append(channels, f.Channel)
			}
		}
	}
	return channels, control
}

func TestStreamsTakeTurns(t *testing.T) {
	k, port := newLink(t)
	for i := range 5 {
		k.Wake(NewStream(&endless{channel: uint32(i + 1), left: 20 + i}))
	}
	k.Flush()
	order, _ := frames(t, port.written)
	if len(order) != 20+21+22+23+24 {
		t.Fatalf("%d frames", len(order))
	}
	for i, channel := range order[:100] {
		if channel != uint32(i%5+1) {
			t.Fatalf("frame %d is of channel %d", i, channel)
		}
	}
}

func TestControlGoesFirst(t *testing.T) {
	k, port := newLink(t)
	k.Wake(NewStream(&endless{channel: 1, left: 1 << 30}))
	port.full = true
	k.Flush() // one write's worth is gathered
	k.End(k.Begin(0))
	port.full, k.blocked = false, false
	port.room = 4 * target
	k.Flush()
	_, control := frames(t, port.written)
	// Behind what was being written already.
	if len(control) != 1 || control[0] > 1 {
		t.Fatalf("control came after frames %v", control)
	}
}

func TestForget(t *testing.T) {
	k, port := newLink(t)
	var streams []*Stream
	for i := range 3 {
		s := NewStream(&endless{channel: uint32(i + 1), left: 1})
		streams = append(streams, s)
		k.Wake(s)
	}
	k.Forget(streams[2])
	k.Forget(streams[0])
	k.Wake(streams[2])
	k.Flush()
	if order, _ := frames(t, port.written); len(order) != 2 || order[0] != 2 || order[1] != 3 {
		t.Fatalf("sent %v", order)
	}
	if !k.Idle() {
		t.Fatal("not idle")
	}
}
