package wire

// Kind returns the item's type.
func (t Item) Kind() Kind {
	if t.doc == nil {
		return Absent
	}
	return t.doc.nodes[t.i].kind
}

// Get returns a map's value for a key, absent if there is none or the item is no map.
func (t Item) Get(key string) Item {
	if t.Kind() != Map {
		return Item{}
	}
	nodes := t.doc.nodes
	for k, end := t.i+1, nodes[t.i].next; k < end; k = nodes[k+1].next {
		if string(t.doc.bytes(k)) == key {
			return Item{t.doc, k + 1}
		}
	}
	return Item{}
}

// Len returns the number of a container's items or pairs.
func (t Item) Len() int {
	if k := t.Kind(); k == Array || k == Map {
		return int(t.doc.nodes[t.i].n)
	}
	return 0
}

// First returns an array's first item or a map's first key; Next goes on from there, to a key's value and to the
// next key. The caller counts by Len.
func (t Item) First() Item {
	if t.Len() == 0 {
		return Item{}
	}
	return Item{t.doc, t.i + 1}
}

// Next returns the item behind this one.
func (t Item) Next() Item {
	if t.doc == nil || int(t.doc.nodes[t.i].next) >= len(t.doc.nodes) {
		return Item{}
	}
	return Item{t.doc, t.doc.nodes[t.i].next}
}

// Uint returns an unsigned integer.
func (t Item) Uint() (uint64, bool) {
	if t.Kind() != Uint {
		return 0, false
	}
	return t.doc.nodes[t.i].n, true
}

// Text returns a copy of a text string.
func (t Item) Text() (string, bool) {
	if t.Kind() != Text {
		return "", false
	}
	return string(t.doc.bytes(t.i)), true
}

// Is says whether the item is this very text, without copying it.
func (t Item) Is(s string) bool {
	return t.Kind() == Text && string(t.doc.bytes(t.i)) == s
}

// Bytes returns a byte string; it points into the document's source.
func (t Item) Bytes() ([]byte, bool) {
	if t.Kind() != Bytes {
		return nil, false
	}
	return t.doc.bytes(t.i), true
}

// True says whether the item is true; absent counts as false.
func (t Item) True() bool {
	return t.Kind() == Bool && t.doc.nodes[t.i].n == 1
}

// Negative returns n of a negative integer -1-n.
func (t Item) Negative() (uint64, bool) {
	if t.Kind() != Negative {
		return 0, false
	}
	return t.doc.nodes[t.i].n, true
}

// Int returns an integer of 64 bits.
func (t Item) Int() (int64, bool) {
	if n, ok := t.Negative(); ok {
		return -1 - int64(n), n <= 1<<63-1
	}
	n, ok := t.Uint()
	return int64(n), ok && n <= 1<<63-1
}

// Texts returns an array of texts; ok is false if any item is something else.
func (t Item) Texts() (list []string, ok bool) {
	if t.Kind() != Array {
		return nil, false
	}
	list = make([]string, t.Len())
	item := t.First()
	for i := range list {
		if list[i], ok = item.Text(); !ok {
			return nil, false
		}
		item = item.Next()
	}
	return list, true
}
