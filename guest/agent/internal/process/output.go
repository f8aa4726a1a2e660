package process

import (
	"syscall"
	"unsafe"

	"microsandbox/agent/internal/link"
	"microsandbox/agent/internal/loop"
	"microsandbox/agent/internal/ring"
	"microsandbox/agent/internal/wire"
)

const (
	// pumpBudget bounds how much of one pipe is read before others get their turn.
	pumpBudget = 256 << 10
	// maxWindow is the protocol's bound on limit − acked.
	maxWindow = 16 << 20
	// dropAtOnce is how much is dropped when a ring is full and no host is there: not byte by byte.
	dropAtOnce = 64 << 10

	fionread = 0x541B // FIONREAD, ioctl_tty(2): the same on amd64 and arm64, and for pipes
)

// output carries stdout or stderr from the process's pipe to the host.
//
// Offsets: ring.Start ≤ sent ≤ min(ring.End, limit). What the host has acknowledged lies before ring.Start.
type output struct {
	process  *Process
	number   byte
	fd       int // −1: none, or handed to a drain
	ring     *ring.Ring
	stream   *link.Stream
	sent     uint64
	acked    uint64 // by this connection
	limit    uint64 // by this connection
	placed   bool   // sent is known for this connection; after a reconnect only the first credit tells
	readable bool   // the pipe may hold more than was read
	hungUp   bool   // no writer is left: read on until the pipe is empty
	ended    bool   // the pipe has ended: ring.End is the stream's length
	endSent  bool   // on this connection
	pace     pace
	look     *loop.Timer // of the pace; nil before the first
}

func (o *output) open(p *Process, number byte, fd int, r *ring.Ring) {
	*o = output{process: p, number: number, fd: fd, ring: r, placed: true}
	o.stream = link.NewStream(o)
}

// Ready reads the pipe.
func (o *output) Ready(events uint32) {
	if o.ended {
		return
	}
	if events != 0 {
		o.readable = true
	}
	if events&(loop.HungUp|loop.Failed) != 0 {
		o.hungUp = true
	}
	o.pump()
}

func (o *output) pump() {
	t := o.process.table
	total := 0
	for budget := pumpBudget; o.readable && o.fd >= 0; {
		if budget <= 0 {
			t.loop.Again(o)
			break
		}
		room := o.ring.Room()
		if len(room) == 0 || t.rings.Budget <= 0 {
			if o.hungUp && o.unread() == 0 {
				// The end needs no room. A host that acknowledges only when it hears of it must not wait for ever.
				o.end()
				break
			}
			if t.link.Connected() {
				t.squeezed = t.squeezed || len(room) > 0
				break // the process waits
			}
			if o.drop(); len(o.ring.Room()) == 0 || t.rings.Budget <= 0 {
				break
			}
			continue
		}
		n, err := syscall.Read(o.fd, room)
		switch {
		case n > 0:
			t.rings.Commit(o.ring, n)
			budget -= n
			total += n
			// A short read has emptied the pipe (epoll(7)); but if the last writer was gone already, no further
			// event will tell of the end. A terminal's reads are short without that.
			o.readable = n == len(room) || o.hungUp || o.process.terminal
			// Not at a terminal: it goes with its session, whoever is still talking there.
			if o.process.exited && !o.process.terminal {
				t.loop.Arm(o.process.quiet, silence)
			}
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			o.readable = false
		default:
			o.end()
		}
	}
	if !o.readable && o.fd >= 0 {
		o.rest(total)
	}
	o.wake()
}

// unread is how much the pipe holds.
func (o *output) unread() int {
	var n int32
	if _, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(o.fd), fionread, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return 0
	}
	return int(n)
}

// drop makes room by forgetting the oldest output.
func (o *output) drop() {
	o.process.table.rings.Release(o.ring, o.ring.Start()+dropAtOnce)
}

func (o *output) end() {
	o.hurry()
	o.process.table.loop.Close(o.fd)
	o.fd, o.ended, o.readable = -1, true, false
}

// detach ends the stream although some descendant still holds the pipe. What it writes later goes nowhere; it must
// not die of it, so the pipe is read on.
//
// A terminal is hung up, as one is whose window was closed: what is in its background gets an error and not a signal.
func (o *output) detach() {
	if o.process.terminal {
		o.process.stdin.close()
		o.end()
		o.wake()
		return
	}
	o.hurry()
	newDrain(o.process.table.loop, o.fd)
	o.fd, o.ended, o.readable = -1, true, false
	o.wake()
}

// wake queues the stream if it has something to send.
func (o *output) wake() {
	if o.sendable() {
		o.process.table.link.Wake(o.stream)
	}
}

func (o *output) sendable() bool {
	if !o.placed {
		// Everything was acknowledged already: there is nothing to be placed, only the end to be told.
		return o.ended && !o.endSent && o.ring.Start() == o.ring.End()
	}
	return o.sent < min(o.ring.End(), o.limit) || o.ended && !o.endSent && o.sent == o.ring.End()
}

// Emit sends the next frame, and the end right behind the last byte.
func (o *output) Emit(out []byte, room int) ([]byte, bool) {
	if !o.sendable() {
		return out, false
	}
	if o.placed && o.sent < o.ring.End() {
		b := o.ring.At(o.sent, min(o.limit, o.sent+uint64(room)))
		start := len(out)
		out = wire.BeginFrame(out, o.process.channel, wire.Data, o.number)
		out = wire.EndFrame(append(out, b...), start)
		o.sent += uint64(len(b))
	}
	if o.ended && !o.endSent && (!o.placed || o.sent == o.ring.End()) {
		start := len(out)
		out = wire.EndFrame(wire.BeginFrame(out, o.process.channel, wire.Data, o.number), start)
		o.endSent = true
		o.process.finish()
	}
	return out, o.sendable()
}

func (o *output) credit(acked, limit uint64) {
	t := o.process.table
	if acked > limit || limit-acked > maxWindow || acked > o.ring.End() || acked < o.acked || limit < o.limit {
		return // no host of ours says that; what it has said before holds
	}
	o.acked, o.limit = acked, limit
	if !o.placed {
		o.placed = true
		o.sent = max(acked, o.ring.Start())
	} else if acked > o.sent {
		return
	}
	full := len(o.ring.Room()) == 0
	t.rings.Release(o.ring, acked)
	if full && o.readable {
		o.pump()
	} else {
		o.wake()
	}
	if t.squeezed && t.rings.Budget > 0 {
		t.relax()
	}
}

// relax lets every stream read on that the common budget had stopped.
func (t *Table) relax() {
	t.squeezed = false
	for _, p := range t.channels {
		for i := range p.outputs {
			if o := &p.outputs[i]; o.readable && !o.ended {
				t.loop.Again(o)
			}
		}
	}
}

func (o *output) disconnected() {
	o.reset()
	if o.readable && !o.ended {
		o.process.table.loop.Again(o)
	}
}

func (o *output) reconnected() {
	o.reset()
	o.wake()
}

func (o *output) reset() {
	o.acked, o.limit, o.placed, o.endSent = 0, 0, false, false
}

func (o *output) release() {
	t := o.process.table
	t.link.Forget(o.stream)
	if o.fd >= 0 {
		o.end()
	}
	o.ended = true
	if o.ring != nil {
		t.rings.Put(o.ring)
		o.ring = nil
	}
}
