// Package link is the agent's end of the port: it reads what the host sends, and writes control frames first and
// then one frame of each stream in turn. It owns the port's descriptor and everything not yet written; it knows
// frames but no message.
package link

import (
	"syscall"
	"time"

	"microsandbox/agent/internal/loop"
	"microsandbox/agent/internal/wire"
)

const (
	// target is how much is gathered before a write: the virtio console driver copies at most 32 KiB per write
	// into one buffer and notifies the device for each (port_fops_write in drivers/char/virtio_console.c).
	target = 32 << 10
	// minRoom is the smallest room a data frame is begun in; below that it waits for the next write.
	minRoom = 1 << 10
	// readBudget bounds how long the host may keep the agent from its processes' output.
	readBudget = 256 << 10
	// absentPoll is a safety net only: the driver wakes a waiter when the host comes and goes.
	absentPoll = time.Second
)

// Port is the byte stream: a virtio-serial port, or a socket in tests. It does not block. Read returning 0 without
// an error means that no host is connected.
type Port interface {
	Descriptor() int
	Read(b []byte) (int, error)
	Write(b []byte) (int, error)
}

// Owner is told what arrives.
type Owner interface {
	// Hello: a new connection counts. The frame is the host's hello.
	Hello(f wire.Frame, nonce []byte)
	// Message: a frame of the connection.
	Message(f wire.Frame)
	// Gone: the connection ended, or broke. Nothing is sent until the next Hello.
	Gone()
}

// Link is the port with its queues.
type Link struct {
	loop     *loop.Loop
	port     Port
	owner    Owner
	receiver *wire.Receiver
	absent   *loop.Timer

	control    []byte // whole frames, not yet being written
	out        []byte // being written
	written    int    // of out
	blocked    bool   // the last write said EAGAIN
	open       bool   // a connection stands
	head, tail *Stream
}

// Open starts to watch the port.
func Open(l *loop.Loop, port Port, owner Owner, isHello func(wire.Frame) bool) (*Link, error) {
	k := &Link{
		loop: l, port: port, owner: owner, receiver: wire.NewReceiver(isHello),
		control: make([]byte, 0, target), out: make([]byte, 0, target+wire.Overhead),
	}
	k.absent = loop.NewTimer(func() { k.Ready(loop.Readable) })
	if err := l.Watch(port.Descriptor(), loop.Readable|loop.Writable, k); err != nil {
		return nil, err
	}
	l.Again(k)
	return k, nil
}

// Connected says whether a host is there and has said hello.
func (k *Link) Connected() bool { return k.open }

// Ready reads the port until it is empty, or others should have a turn.
func (k *Link) Ready(events uint32) {
	if events&loop.Writable != 0 {
		k.blocked = false
	}
	for budget := readBudget; budget > 0; {
		n, err := k.port.Read(k.receiver.Space())
		switch {
		case err == syscall.EAGAIN:
			return
		case err == syscall.EINTR:
			continue
		case n <= 0:
			k.hostGone()
			return
		}
		budget -= n
		k.receiver.Filled(n)
		k.deliver()
	}
	k.loop.Again(k)
}

func (k *Link) deliver() {
	for {
		f, event := k.receiver.Next()
		switch event {
		case wire.Nothing:
			return
		case wire.Message:
			k.owner.Message(f)
		case wire.Hello:
			k.reset(true)
			k.owner.Hello(f, k.receiver.Nonce())
		case wire.Lost:
			k.lose()
		}
	}
}

func (k *Link) hostGone() {
	k.receiver.HostGone()
	k.lose()
	k.loop.Arm(k.absent, absentPoll)
}

func (k *Link) lose() {
	if !k.open {
		return
	}
	k.reset(false)
	k.owner.Gone()
}

// reset drops everything that is queued: it belonged to the connection before.
func (k *Link) reset(open bool) {
	k.open = open
	k.control, k.out, k.written = k.control[:0], k.out[:0], 0
	k.clearStreams()
	if open {
		k.loop.Disarm(k.absent)
		k.blocked = false
	}
}

// Begin opens a control frame; the caller appends the message to the slice and hands it to End. Nothing else of the
// link may be called in between.
func (k *Link) Begin(channel uint32) []byte {
	return wire.BeginFrame(k.control, channel, wire.Control, 0)
}

// End queues the control frame that Begin opened; without a connection it is dropped.
func (k *Link) End(b []byte) {
	if k.open {
		k.control = wire.EndFrame(b, len(k.control))
	}
}

// Raw queues bytes that are no frame: the sync sequence.
func (k *Link) Raw(b ...[]byte) {
	for _, p := range b {
		k.control = append(k.control, p...)
	}
}

// Credit queues a credit frame.
func (k *Link) Credit(channel uint32, stream byte, acked, limit uint64) {
	if k.open {
		k.control = wire.AppendCredit(k.control, channel, stream, acked, limit)
	}
}

// Idle says whether everything that may be sent has been written.
func (k *Link) Idle() bool { return len(k.out) == k.written && len(k.control) == 0 && k.head == nil }

// Flush writes as much as the port takes.
func (k *Link) Flush() {
	for k.open && !k.blocked {
		if k.written == len(k.out) && !k.fill() {
			return
		}
		n, err := k.port.Write(k.out[k.written:])
		switch {
		case err == syscall.EAGAIN:
			k.blocked = true
		case err == syscall.EINTR:
		case n <= 0:
			k.hostGone()
		default:
			k.written += n
		}
	}
}

// fill gathers the next write: control first, then one frame of each stream in turn.
func (k *Link) fill() bool {
	k.out, k.written = k.out[:0], 0
	if len(k.control) > 0 {
		k.out, k.control = k.control, k.out
	}
	for k.head != nil && len(k.out)+wire.Overhead+minRoom <= target {
		s := k.pop()
		var more bool
		k.out, more = s.source.Emit(k.out, target-len(k.out)-wire.Overhead)
		if more {
			k.push(s)
		}
	}
	// An exit message that the last end of stream has just released goes with it.
	if len(k.out) > 0 && len(k.out)+len(k.control) <= target {
		k.out = append(k.out, k.control...)
		k.control = k.control[:0]
	}
	return len(k.out) > 0
}
