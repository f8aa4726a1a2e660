package wire

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"strconv"
	"testing"
)

// vectors are shared with the host's end of the protocol.
const vectors = "../../../../spec/vectors/"

type frameVector struct {
	Channel uint32 `json:"channel"`
	Type    byte   `json:"type"`
	Stream  byte   `json:"stream"`
	Payload string `json:"payload"`
}

type vector struct {
	Name, Role, Nonce, Hex, Error string
	Frames                        []frameVector
	Value                         any
}

func load(t testing.TB, file string) []vector {
	b, err := os.ReadFile(vectors + file)
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(file, err)
	}
	if len(list) == 0 {
		t.Fatal(file, "is empty")
	}
	return list
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func anyHello(f Frame) bool {
	var d Document
	if f.Type != Control || f.Channel != 0 {
		return false
	}
	m, err := d.Parse(f.Payload)
	return err == nil && m.Get("op").Is("hello")
}

func record(f Frame) frameVector {
	return frameVector{f.Channel, f.Type, f.Stream, hex.EncodeToString(f.Payload)}
}

// feed gives the receiver a stream in pieces and returns the frames it accepted and whether it ever lost the stream.
func feed(r *Receiver, b []byte, piece int) (frames []frameVector, lost bool) {
	for len(b) > 0 {
		n := copy(r.Space(), b[:min(piece, len(b))])
		r.Filled(n)
		b = b[n:]
		for {
			f, event := r.Next()
			if event == Nothing {
				break
			}
			if event == Lost {
				lost = true
				continue
			}
			frames = append(frames, record(f))
		}
	}
	return frames, lost
}

// synchronized is a receiver in the middle of a connection.
func synchronized() *Receiver {
	r := NewReceiver(anyHello)
	r.state = reading
	return r
}

var pieces = []int{1 << 20, 4096, 7, 1}

func TestFrameVectors(t *testing.T) {
	for _, v := range load(t, "frames.json") {
		b := unhex(t, v.Hex)
		for _, piece := range pieces {
			if piece < 100 && len(b) > 10000 {
				continue
			}
			r := synchronized()
			got, lost := feed(r, b, piece)
			// A receiver that hunts may find more behind the error: what it read before it counts.
			if len(got) > len(v.Frames) {
				got = got[:len(v.Frames)]
			}
			if len(got)+len(v.Frames) > 0 && !reflect.DeepEqual(got, v.Frames) {
				t.Errorf("%s, in pieces of %d: frames differ", v.Name, piece)
			}
			broken := v.Error == "header" || v.Error == "trailer"
			if lost != broken {
				t.Errorf("%s, in pieces of %d: lost %v, want error %q", v.Name, piece, lost, v.Error)
			}
			if (v.Error == "truncated") != (!lost && r.r != r.w) {
				t.Errorf("%s: %d bytes left over, want error %q", v.Name, r.w-r.r, v.Error)
			}
		}
		// What was read is written again to the same bytes.
		if v.Error == "" {
			var again []byte
			for _, f := range v.Frames {
				start := len(again)
				again = append(BeginFrame(again, f.Channel, f.Type, f.Stream), unhex(t, f.Payload)...)
				again = EndFrame(again, start)
			}
			if hex.EncodeToString(again) != v.Hex {
				t.Errorf("%s: encoded differently", v.Name)
			}
		}
	}
}

func TestSyncVectors(t *testing.T) {
	for _, v := range load(t, "sync.json") {
		if v.Role != "guest" {
			continue
		}
		b := unhex(t, v.Hex)
		for _, piece := range pieces {
			if piece < 100 && len(b) > 10000 {
				continue
			}
			r := synchronized()
			got, _ := feed(r, b, piece)
			if len(got)+len(v.Frames) > 0 && !reflect.DeepEqual(got, v.Frames) {
				t.Errorf("%s, in pieces of %d: got %v, want %v", v.Name, piece, got, v.Frames)
			}
			if v.Nonce != "" && len(v.Frames) > 0 && hex.EncodeToString(r.Nonce()) != v.Nonce {
				t.Errorf("%s: nonce %x", v.Name, r.Nonce())
			}
		}
	}
}

// plain turns an item into what encoding/json makes of the vectors' values.
func plain(t Item) any {
	switch t.Kind() {
	case Uint:
		n, _ := t.Uint()
		if n >= 1<<53 {
			return map[string]any{"$uint": strconv.FormatUint(n, 10)}
		}
		return float64(n)
	case Negative:
		n, _ := t.Negative()
		if n >= 1<<53-1 {
			return map[string]any{"$uint": strconv.FormatInt(-1-int64(n), 10)}
		}
		return -1 - float64(n)
	case Bytes:
		b, _ := t.Bytes()
		return map[string]any{"$bytes": hex.EncodeToString(b)}
	case Text:
		s, _ := t.Text()
		return s
	case Bool:
		return t.True()
	case Array:
		list := make([]any, 0, t.Len())
		for i, item := 0, t.First(); i < t.Len(); i, item = i+1, item.Next() {
			list = append(list, plain(item))
		}
		return list
	case Map:
		m := make(map[string]any, t.Len())
		for i, key := 0, t.First(); i < t.Len(); i++ {
			s, _ := key.Text()
			m[s] = plain(key.Next())
			key = key.Next().Next()
		}
		return m
	}
	return nil
}

func TestControlVectors(t *testing.T) {
	var d Document
	for _, v := range load(t, "control.json") {
		item, err := d.Parse(unhex(t, v.Hex))
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		if got := plain(item); !reflect.DeepEqual(got, v.Value) {
			t.Errorf("%s: got %v, want %v", v.Name, got, v.Value)
		}
		if again := encode(nil, item); hex.EncodeToString(again) != v.Hex {
			t.Errorf("%s: encoded to %x", v.Name, again)
		}
	}
}

func TestInvalidControlVectors(t *testing.T) {
	var d Document
	for _, v := range load(t, "control-invalid.json") {
		if _, err := d.Parse(unhex(t, v.Hex)); err == nil {
			t.Errorf("%s: accepted", v.Name)
		}
	}
}

// encode writes an item with the encoder.
func encode(b []byte, t Item) []byte {
	n := uint64(0)
	if t.Kind() != Absent {
		n = t.doc.nodes[t.i].n
	}
	switch t.Kind() {
	case Uint:
		return AppendUint(b, n)
	case Negative:
		return appendHead(b, majorNeg, n)
	case Bytes:
		p, _ := t.Bytes()
		return AppendBytes(b, p)
	case Text:
		s, _ := t.Text()
		return AppendText(b, s)
	case Bool:
		return AppendBool(b, t.True())
	case Null:
		return append(b, simpleNull)
	case Array:
		b = AppendArray(b, t.Len())
		for i, item := 0, t.First(); i < t.Len(); i, item = i+1, item.Next() {
			b = encode(b, item)
		}
	case Map:
		b = AppendMap(b, t.Len())
		for i, item := 0, t.First(); i < 2*t.Len(); i, item = i+1, item.Next() {
			b = encode(b, item)
		}
	}
	return b
}
