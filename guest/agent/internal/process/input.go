package process

import (
	"syscall"
	"time"

	"microsandbox/agent/internal/loop"
	"microsandbox/agent/internal/ring"
	"microsandbox/agent/internal/wire"
)

const (
	// stdinWindow is the protocol's "stdin kept per process": how far the host may run ahead of the pipe.
	stdinWindow = 256 << 10
	// stdinGrant is how much the pipe must have taken before a new credit is worth its frame.
	stdinGrant = stdinWindow / 4
)

// input carries stdin from the host to the process's pipe. Most of it goes straight through; a ring is taken only
// when the pipe is full.
type input struct {
	process *Process
	fd      int // −1: /dev/null, or closed
	ring    *ring.Ring
	// received counts the bytes taken from the host, taken those that the pipe has taken, granted the latest credit.
	received, taken, granted uint64
	limit                    uint64 // of the latest credit
	ended                    bool   // the host has sent the end
	retry                    *loop.Timer
}

// retryAfter is how soon a terminal that took no more is tried again.
const retryAfter = 20 * time.Millisecond

// take accepts a data frame.
func (in *input) take(b []byte) {
	if in.ended {
		return
	}
	if len(b) == 0 {
		in.ended = true
		in.settle()
		return
	}
	if room := in.limit - in.received; uint64(len(b)) > room {
		b = b[:room] // beyond credit: no host of ours does that
	}
	in.received += uint64(len(b))
	if in.ring == nil || in.ring.Start() == in.ring.End() {
		n := in.write(b)
		in.taken += uint64(n)
		b = b[n:]
	}
	if len(b) > 0 {
		in.keep(b)
	}
	in.settle()
}

func (in *input) keep(b []byte) {
	rings := in.process.table.rings
	if in.ring == nil {
		r, err := rings.Get()
		if err != nil {
			in.close() // no memory: the process sees its stdin end
			in.taken = in.received
			return
		}
		in.ring = r
	}
	rings.Write(in.ring, b)
	in.tryAgain()
}

// tryAgain arms the timer for a terminal. It does not always tell when it has room: what a line discipline throws away (a line
// that is too long) frees its buffer without a word.
func (in *input) tryAgain() {
	if !in.process.terminal || in.fd < 0 {
		return
	}
	if in.retry == nil {
		in.retry = loop.NewTimer(func() { in.Ready(0) })
	}
	in.process.table.loop.Arm(in.retry, retryAfter)
}

// write gives the pipe what it takes. After the last reader has gone everything counts as taken and goes nowhere.
func (in *input) write(b []byte) int {
	done := 0
	for done < len(b) {
		if in.fd < 0 {
			return len(b)
		}
		n, err := syscall.Write(in.fd, b[done:])
		switch {
		case n > 0:
			done += n
		case err == syscall.EAGAIN:
			return done
		case err == syscall.EINTR:
		default:
			in.close()
		}
	}
	return done
}

// Ready goes on when the pipe has room again.
func (in *input) Ready(events uint32) {
	if events&loop.Failed != 0 {
		in.close()
	}
	if in.ring != nil {
		rings := in.process.table.rings
		for in.ring.Start() < in.ring.End() {
			b := in.ring.At(in.ring.Start(), in.ring.End())
			n := in.write(b)
			if n == 0 {
				in.tryAgain()
				break
			}
			in.taken += uint64(n)
			rings.Release(in.ring, in.ring.Start()+uint64(n))
		}
	}
	in.settle()
}

// settle sends credit if it is worth it, and the end of stdin when nothing is left before it.
func (in *input) settle() {
	if in.taken-in.granted >= stdinGrant {
		in.grant()
	}
	// A terminal stays: there is nobody to type any more, which no program can tell from one who thinks.
	if in.ended && in.taken == in.received && !in.process.terminal {
		in.close()
	}
}

// grant sends a credit.
func (in *input) grant() {
	if in.ended {
		return
	}
	in.granted = in.taken
	in.limit = in.taken + stdinWindow
	in.process.table.link.Credit(in.process.channel, wire.Stdin, in.taken, in.limit)
}

func (in *input) close() {
	if in.retry != nil {
		in.process.table.loop.Disarm(in.retry)
	}
	if in.fd >= 0 {
		in.process.table.loop.Close(in.fd)
		in.fd = -1
	}
}

func (in *input) release() {
	in.close()
	if in.ring != nil {
		in.process.table.rings.Put(in.ring)
		in.ring = nil
	}
}
