package wire

import (
	"errors"
	"unicode/utf8"
)

const (
	maxDepth    = 8
	maxElements = 65536
)

// ErrCBOR says that bytes are not an item of the protocol's subset of CBOR.
var ErrCBOR = errors.New("not an item of the protocol's CBOR subset")

// Kind is an item's type.
type Kind byte

const (
	Absent Kind = iota
	Uint
	Negative
	Bytes
	Text
	Array
	Map
	Bool
	Null
)

// node is one item on the tape: items lie in the order of the bytes, each knows where its subtree ends. Strings
// stay in the source, so that decoding allocates nothing once the tape has grown.
type node struct {
	kind Kind
	n    uint64 // integer, length, number of items or pairs, or truth
	at   uint32 // of a string: where its bytes begin
	next uint32 // index of the item behind this one and all it contains
}

// Document is a decoded item. It may be used again for the next one; items taken from it then change.
type Document struct {
	src   []byte
	nodes []node
}

// Item points at one item of a document. The zero value is absent, and everything asked of it is absent too.
type Item struct {
	doc *Document
	i   uint32
}

// Parse decodes src, which must be exactly one item.
func (d *Document) Parse(src []byte) (Item, error) {
	d.src, d.nodes = src, d.nodes[:0]
	end, ok := d.parse(0, 0)
	if !ok || end != len(src) {
		return Item{}, ErrCBOR
	}
	return Item{d, 0}, nil
}

// parse decodes the item at byte i, below depth containers, and returns where the next one begins.
func (d *Document) parse(i, depth int) (int, bool) {
	if i >= len(d.src) || len(d.nodes) >= maxElements {
		return 0, false
	}
	first := d.src[i]
	i++
	n, i, ok := d.argument(first&31, i)
	if !ok {
		return 0, false
	}
	self := len(d.nodes)
	d.nodes = append(d.nodes, node{n: n, next: uint32(self + 1)})
	switch first & 0xE0 {
	case majorUint:
		d.nodes[self].kind = Uint
	case majorNeg:
		if n > 1<<63-1 {
			return 0, false // below what 64 bits hold
		}
		d.nodes[self].kind = Negative
	case majorBytes, majorText:
		if n > uint64(len(d.src)-i) {
			return 0, false
		}
		d.nodes[self].kind, d.nodes[self].at = Bytes, uint32(i)
		if first&0xE0 == majorText {
			d.nodes[self].kind = Text
			if !utf8.Valid(d.src[i : i+int(n)]) {
				return 0, false
			}
		}
		i += int(n)
	case majorArray, majorMap:
		if depth >= maxDepth || n > maxElements {
			return 0, false
		}
		if first&0xE0 == majorArray {
			d.nodes[self].kind = Array
			i, ok = d.items(i, int(n), depth+1)
		} else {
			d.nodes[self].kind = Map
			i, ok = d.pairs(i, int(n), depth+1)
		}
		d.nodes[self].next = uint32(len(d.nodes))
		return i, ok
	case majorSimple:
		switch first {
		case simpleFalse:
			d.nodes[self].kind, d.nodes[self].n = Bool, 0
		case simpleTrue:
			d.nodes[self].kind, d.nodes[self].n = Bool, 1
		case simpleNull:
			d.nodes[self].kind = Null
		default:
			return 0, false
		}
	default: // tags
		return 0, false
	}
	return i, true
}

// argument reads the number that belongs to an initial byte, and insists on the shortest form.
func (d *Document) argument(info byte, i int) (uint64, int, bool) {
	if info < 24 {
		return uint64(info), i, true
	}
	if info > 27 {
		return 0, 0, false // reserved, or indefinite length
	}
	size := 1 << (info - 24)
	if len(d.src)-i < size {
		return 0, 0, false
	}
	var n uint64
	for _, b := range d.src[i : i+size] {
		n = n<<8 | uint64(b)
	}
	shortest := n >= 24
	if size > 1 {
		shortest = n>>(size*4) != 0
	}
	return n, i + size, shortest
}

func (d *Document) items(i, n, depth int) (int, bool) {
	ok := true
	for ; n > 0 && ok; n-- {
		i, ok = d.parse(i, depth)
	}
	return i, ok
}

func (d *Document) pairs(i, n, depth int) (int, bool) {
	var seen map[string]struct{}
	if n > 16 {
		seen = make(map[string]struct{}, min(n, len(d.src)-i))
	}
	first := uint32(len(d.nodes))
	for ; n > 0; n-- {
		key := uint32(len(d.nodes))
		var ok bool
		if i, ok = d.parse(i, depth); !ok || d.nodes[key].kind != Text {
			return 0, false
		}
		if seen != nil {
			s := string(d.bytes(key))
			if _, twice := seen[s]; twice {
				return 0, false
			}
			seen[s] = struct{}{}
		} else {
			for k := first; k < key; k = d.nodes[k+1].next {
				if string(d.bytes(k)) == string(d.bytes(key)) {
					return 0, false
				}
			}
		}
		if i, ok = d.parse(i, depth); !ok {
			return 0, false
		}
	}
	return i, true
}

func (d *Document) bytes(i uint32) []byte {
	n := &d.nodes[i]
	return d.src[n.at : uint64(n.at)+n.n]
}
