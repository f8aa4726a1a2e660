package watch

import (
	"os"
	"syscall"

	"microsandbox/agent/internal/wire"
)

// maxBatch bounds the bytes of changes in one message; one change more may follow.
const maxBatch = 64 << 10

// The types of changes.
const (
	created    = "created"
	modified   = "modified"
	attributes = "attributes"
	removed    = "removed"
	moved      = "moved"
	overflow   = "overflow"
)

// change is one, with paths relative to the watched folder.
type change struct {
	kind, path string
	from       string
	folder     bool
}

// batch gathers changes for a message.
type batch struct {
	bytes []byte
	count int
	last  change
}

func (b *batch) add(c change) {
	if len(c.path) >= maxPath || len(c.from) >= maxPath {
		c = change{kind: overflow}
	}
	// A file that is written piece by piece has changed once for whoever has not looked yet; nor does a second loss say more.
	if b.count > 0 && c == b.last && (c.kind == modified || c.kind == attributes || c.kind == overflow) {
		return
	}
	b.last = c
	b.count++
	pairs := 1
	for _, has := range []bool{c.kind != overflow, c.from != "", c.folder} {
		if has {
			pairs++
		}
	}
	b.bytes = wire.AppendText(wire.AppendText(wire.AppendMap(b.bytes, pairs), "type"), c.kind)
	if c.kind != overflow {
		b.bytes = wire.AppendBytes(wire.AppendText(b.bytes, "path"), []byte(c.path))
	}
	if c.from != "" {
		b.bytes = wire.AppendBytes(wire.AppendText(b.bytes, "from"), []byte(c.from))
	}
	if c.folder {
		b.bytes = wire.AppendBool(wire.AppendText(b.bytes, "folder"), true)
	}
}

// take gives the message of what was gathered, and begins anew.
func (b *batch) take() []byte {
	m := wire.AppendText(wire.AppendText(wire.AppendMap(nil, 2), "op"), "changes")
	m = append(wire.AppendArray(wire.AppendText(m, "changes"), b.count), b.bytes...)
	b.bytes, b.count, b.last = b.bytes[:0], 0, change{}
	return m
}

func ready(watches int) []byte {
	m := wire.AppendText(wire.AppendText(wire.AppendMap(nil, 2), "op"), "ready")
	return wire.AppendUint(wire.AppendText(m, "watches"), uint64(watches))
}

// out is where messages go: each behind its length, four bytes.
type out struct{ fd int }

func (o *out) send(message []byte) {
	n := len(message)
	b := append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, message...)
	for len(b) > 0 {
		n, err := syscall.Write(o.fd, b)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			os.Exit(1) // nobody reads any more
		}
		b = b[n:]
	}
}
