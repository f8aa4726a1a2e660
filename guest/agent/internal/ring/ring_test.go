package ring

import (
	"bytes"
	"math/rand"
	"testing"
)

// A ring holds what a plain slice of the whole stream would, between its offsets.
func TestAgainstModel(t *testing.T) {
	for seed := range int64(20) {
		random := rand.New(rand.NewSource(seed))
		pool := NewPool(1<<40, 1)
		for range 3 {
			r, err := pool.Get()
			if err != nil {
				t.Fatal(err)
			}
			var stream []byte
			start := uint64(0)
			for range 300 {
				switch random.Intn(3) {
				case 0, 1:
					b := make([]byte, random.Intn(1<<uint(random.Intn(19))+1))
					random.Read(b)
					n := pool.Write(r, b)
					if free := Size - (uint64(len(stream)) - start); uint64(n) != min(uint64(len(b)), free) {
						t.Fatalf("wrote %d of %d with %d free", n, len(b), free)
					}
					stream = append(stream, b[:n]...)
				case 2:
					start = min(start+uint64(random.Intn(Size/2)), uint64(len(stream)))
					pool.Release(r, start)
				}
				if r.Start() != start || r.End() != uint64(len(stream)) {
					t.Fatalf("holds %d to %d, want %d to %d", r.Start(), r.End(), start, len(stream))
				}
				for at := start; at < r.End(); {
					b := r.At(at, r.End())
					if len(b) == 0 || !bytes.Equal(b, stream[at:at+uint64(len(b))]) {
						t.Fatalf("seed %d: wrong bytes at %d", seed, at)
					}
					at += uint64(len(b))
				}
				if b := r.At(start, start+1); len(b) > 1 {
					t.Fatal("limit passed")
				}
			}
			pool.Put(r)
		}
		if pool.Budget != 1<<40 {
			t.Fatalf("budget is off by %d", 1<<40-pool.Budget)
		}
	}
}

func TestEmptyRingUsesLowPagesAgain(t *testing.T) {
	pool := NewPool(1<<40, 1)
	r, _ := pool.Get()
	for range 1000 {
		pool.Write(r, make([]byte, 3000))
		pool.Release(r, r.End())
	}
	if r.touched > 3000 {
		t.Fatalf("%d bytes were touched", r.touched)
	}
}
