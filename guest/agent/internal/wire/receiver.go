package wire

import "bytes"

// Magic opens the sync sequence. Read as a header it is invalid, so a receiver that waits for a frame stumbles over it.
const Magic = "\x00MSB-AGENT-SYNC\n"

// NonceSize is the length of the nonce behind the magic.
const NonceSize = 16

// Event is what Next found.
type Event int

const (
	// Nothing: more bytes are needed.
	Nothing Event = iota
	// Message: a frame on the synchronized stream.
	Message
	// Hello: the first frame behind a sync sequence; from here on a new connection counts.
	Hello
	// Lost: the stream broke and is being searched for the next sync sequence.
	Lost
)

type state int

const (
	hunting state = iota
	greeting
	reading
)

// readSize is how much room Space offers at least: the virtio console driver hands out at most a page per read.
const readSize = 4096

// Receiver turns the bytes of the port into frames. It starts hunting. The caller reads into Space, reports
// with Filled, and calls Next until it says Nothing.
type Receiver struct {
	buf     []byte
	r, w    int
	state   state
	nonce   [NonceSize]byte
	isHello func(Frame) bool
}

// NewReceiver allocates the receive buffer; isHello decides whether the first frame behind a sync sequence is one.
func NewReceiver(isHello func(Frame) bool) *Receiver {
	return &Receiver{buf: make([]byte, MaxPayload+Overhead+64<<10), isHello: isHello}
}

// Space returns room to read into. Frames returned before are invalid from here on.
func (r *Receiver) Space() []byte {
	if r.r == r.w {
		// Low addresses again: pages once touched are used again instead of new ones.
		r.r, r.w = 0, 0
	} else if len(r.buf)-r.w < readSize {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	return r.buf[r.w:]
}

// Filled says that n bytes were read into Space.
func (r *Receiver) Filled(n int) { r.w += n }

// Nonce is the nonce of the current sync sequence.
func (r *Receiver) Nonce() []byte { return r.nonce[:] }

// Synchronized says whether a connection stands: a hello was read and nothing broke since.
func (r *Receiver) Synchronized() bool { return r.state == reading }

// HostGone drops an unfinished frame and hunts.
func (r *Receiver) HostGone() {
	r.r, r.w = 0, 0
	r.state = hunting
}

// Next returns what the buffered bytes hold.
func (r *Receiver) Next() (Frame, Event) {
	for {
		if r.state == hunting {
			if !r.hunt() {
				return Frame{}, Nothing
			}
			r.state = greeting
		}
		b := r.buf[r.r:r.w]
		if len(b) < HeaderSize {
			return Frame{}, Nothing
		}
		f, n, ok := parseHeader(b)
		end := HeaderSize + n
		switch {
		case !ok:
			// Hunt from the header's own first byte: the magic may begin inside of it.
		case len(b) <= end:
			return Frame{}, Nothing
		case b[end] != Trailer:
			r.r += end
		default:
			f.Payload = b[HeaderSize:end:end]
			if r.state == reading {
				r.r += end + 1
				return f, Message
			}
			if r.isHello(f) {
				r.r += end + 1
				r.state = reading
				return f, Hello
			}
		}
		lost := r.state == reading
		r.state = hunting
		if lost {
			return Frame{}, Lost
		}
	}
}

// hunt looks for the whole sync sequence and drops what lies before it.
func (r *Receiver) hunt() bool {
	b := r.buf[r.r:r.w]
	i := 0
	if len(b) < len(Magic) || string(b[:len(Magic)]) != Magic {
		if i = bytes.Index(b, []byte(Magic)); i < 0 {
			// The last bytes may be the beginning of the magic.
			if len(b) >= len(Magic) {
				r.r = r.w - (len(Magic) - 1)
			}
			return false
		}
	}
	r.r += i
	b = b[i:]
	if len(b) < len(Magic)+NonceSize {
		return false
	}
	copy(r.nonce[:], b[len(Magic):])
	r.r += len(Magic) + NonceSize
	return true
}
