// Package wire is the byte level of the agent protocol (spec/agent-protocol.md): frames, the search for the
// sync sequence, and the subset of CBOR that control messages are written in. It is written by hand and
// without reflection because under software emulation every instruction that runs for the first time costs.
// It never does I/O and knows no message by name but the hello.
package wire

const (
	MaxPayload = 262144
	HeaderSize = 12
	Trailer    = 0xA5
	// Overhead is what a frame costs beyond its payload.
	Overhead = HeaderSize + 1

	MaxChannel = 1<<31 - 1

	Control byte = 1
	Data    byte = 2
	Credit  byte = 3

	Stdin  byte = 0
	Stdout byte = 1
	Stderr byte = 2

	creditSize = 16
	checkSeed  = 0x4D53
)

// Frame is one frame as received. Payload points into the receiver's buffer and dies with its next Space.
type Frame struct {
	Channel uint32
	Type    byte
	Stream  byte
	Payload []byte
}

// BeginFrame appends a header whose length is still unknown; EndFrame completes it. Between the two the caller
// appends the payload to the same slice.
func BeginFrame(b []byte, channel uint32, typ, stream byte) []byte {
	return append(b,
		0, 0, 0, 0,
		byte(channel>>24), byte(channel>>16), byte(channel>>8), byte(channel),
		typ, stream, 0, 0)
}

// EndFrame fills in length and check of the frame that begins at start, and appends the trailer.
func EndFrame(b []byte, start int) []byte {
	n := len(b) - start - HeaderSize
	h := b[start : start+HeaderSize]
	h[0], h[1], h[2], h[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	c := check(h)
	h[10], h[11] = byte(c>>8), byte(c)
	return append(b, Trailer)
}

// AppendCredit appends a whole credit frame.
func AppendCredit(b []byte, channel uint32, stream byte, acked, limit uint64) []byte {
	start := len(b)
	b = BeginFrame(b, channel, Credit, stream)
	b = appendUint64(b, acked)
	b = appendUint64(b, limit)
	return EndFrame(b, start)
}

// ParseCredit reads a credit's payload, whose length the header check has already settled.
func ParseCredit(p []byte) (acked, limit uint64) {
	return uint64At(p), uint64At(p[8:])
}

// parseHeader reads the first twelve bytes of b; ok is false if they are no valid header.
func parseHeader(b []byte) (f Frame, length int, ok bool) {
	_ = b[HeaderSize-1]
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	f.Channel = uint32(b[4])<<24 | uint32(b[5])<<16 | uint32(b[6])<<8 | uint32(b[7])
	f.Type, f.Stream = b[8], b[9]
	if n > MaxPayload || f.Channel > MaxChannel || uint16(b[10])<<8|uint16(b[11]) != check(b) {
		return f, 0, false
	}
	switch f.Type {
	case Control:
		ok = f.Stream == 0
	case Data:
		ok = f.Stream <= Stderr
	case Credit:
		ok = f.Stream <= Stderr && n == creditSize
	}
	return f, int(n), ok
}

func check(h []byte) uint16 {
	c := uint16(checkSeed)
	for i := 0; i < 10; i += 2 {
		c ^= uint16(h[i])<<8 | uint16(h[i+1])
	}
	return c
}

func uint64At(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0])<<56 | uint64(b[1])<<48 | uint64(b[2])<<40 | uint64(b[3])<<32 |
		uint64(b[4])<<24 | uint64(b[5])<<16 | uint64(b[6])<<8 | uint64(b[7])
}

func appendUint64(b []byte, v uint64) []byte {
	return append(b, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32),
		byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}
