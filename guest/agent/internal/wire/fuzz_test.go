package wire

import (
	"bytes"
	"testing"
)

// FuzzDecodeCBOR: whatever is accepted is encoded to the very same bytes again, for the subset has one spelling of each value.
func FuzzDecodeCBOR(f *testing.F) {
	for _, file := range []string{"control.json", "control-invalid.json"} {
		for _, v := range load(f, file) {
			if len(v.Hex) < 4096 {
				f.Add(unhex(f, v.Hex))
			}
		}
	}
	var d Document
	f.Fuzz(func(t *testing.T, b []byte) {
		item, err := d.Parse(b)
		if err != nil {
			return
		}
		if again := encode(nil, item); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

// FuzzFrames: the receiver finds the same in a stream however it is cut, and always recovers when a host says hello.
func FuzzFrames(f *testing.F) {
	for _, file := range []string{"frames.json", "sync.json"} {
		for _, v := range load(f, file) {
			if len(v.Hex) < 4096 {
				f.Add(unhex(f, v.Hex), uint8(3))
			}
		}
	}
	hello := BeginFrame([]byte(Magic+"0123456789abcdef"), 0, Control, 0)
	hello = AppendText(AppendText(AppendMap(hello, 1), "op"), "hello")
	hello = EndFrame(hello, len(Magic)+NonceSize)
	hello = append(make([]byte, MaxPayload+Overhead), hello...)
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		whole, cut := synchronized(), synchronized()
		one, lostOne := feed(whole, b, 1<<20)
		two, lostTwo := feed(cut, b, int(piece)+1)
		if len(one) != len(two) || lostOne != lostTwo {
			t.Fatalf("whole: %v %v, cut: %v %v", one, lostOne, two, lostTwo)
		}
		for i := range one {
			if one[i] != two[i] {
				t.Fatalf("frame %d differs", i)
			}
		}
		feed(whole, hello, 1<<20)
		if !whole.Synchronized() || string(whole.Nonce()) != "0123456789abcdef" {
			t.Fatal("a host's hello was not recognized")
		}
	})
}
