package process

import (
	"time"

	"microsandbox/agent/internal/loop"
)

// A program that writes a little and often (a line, a KiB) wakes the agent for each write, and costs a switch, a frame, a
// notification of the VMM and a record of the log each time: many times what its bytes cost, above all without hardware
// virtualization. So a stream that has done so for a while is paced: its pipe is not watched but looked at after a while, when
// more has gathered. What comes after a pause leaves at once, as does the end of the stream; and who is spoken to is
// answering, so input ends the pace. Terminals and builtins, whose messages others wait for, are never paced.
const (
	// smallRead is what is not worth a frame of its own.
	smallRead = 8 << 10
	// largeRead is half a pipe: beyond it the process would soon have to wait for us.
	largeRead = 32 << 10
	// closeReads come so soon behind each other.
	closeReads = 10 * time.Millisecond
	// manyReads in a row, small and close, begin the pace.
	manyReads = 32
	shortest  = time.Millisecond
	// longest is how much later than written something can leave: nobody sees it.
	longest = 16 * time.Millisecond
	// maxPaced bounds the timers, which are a list.
	maxPaced = 64
)

// pace is how often one pipe is looked at.
type pace struct {
	small int           // reads so far that were small and close
	last  time.Duration // when the last one was
	wait  time.Duration // 0: not paced
}

// took takes down a read that has emptied the pipe, and says how long to leave the pipe alone; 0: not at all.
func (p *pace) took(n int, now time.Duration) time.Duration {
	if n == 0 && p.wait == 0 {
		return 0
	}
	near := now-p.last < closeReads
	p.last = now
	switch {
	case p.wait == 0 && n < smallRead && near:
		if p.small++; p.small == manyReads {
			p.small, p.wait = 0, shortest
		}
	case p.wait == 0:
		p.small = 0
	case n == 0 && p.wait == longest:
		p.wait = 0 // it has paused
	case n < smallRead:
		p.wait = min(2*p.wait, longest)
	case n > largeRead:
		if p.wait /= 2; p.wait < shortest {
			p.wait = 0
		}
	}
	return p.wait
}

// rest paces the stream, if it is one to be paced, after a read of n bytes has emptied its pipe.
func (o *output) rest(n int) {
	t := o.process.table
	if o.process.terminal || o.process.builtin != nil || o.hungUp {
		return
	}
	paced := o.pace.wait > 0
	wait := o.pace.took(n, t.loop.Now())
	if wait == 0 {
		if paced {
			o.unpace()
		}
		return
	}
	if !paced {
		if t.paced == maxPaced || t.loop.Modify(o.fd, 0) != nil {
			o.pace = pace{}
			return
		}
		t.paced++
		if o.look == nil {
			o.look = loop.NewTimer(func() {
				o.readable = true
				o.pump()
			})
		}
	}
	t.loop.Arm(o.look, wait)
}

// hurry ends the pace.
func (o *output) hurry() {
	if o.pace.wait > 0 {
		o.unpace()
	}
	o.pace = pace{}
}

// unpace has the kernel tell again when there is something, also what is there already.
func (o *output) unpace() {
	t := o.process.table
	t.paced--
	t.loop.Disarm(o.look)
	o.pace = pace{}
	if o.fd >= 0 {
		_ = t.loop.Modify(o.fd, loop.Readable)
	}
}
