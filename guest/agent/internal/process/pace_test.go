package process

import (
	"testing"
	"time"
)

// reads is a stream of which each read gives so many bytes.
func reads(p *pace, now *time.Duration, count, bytes int, gap time.Duration) (waits []time.Duration) {
	for range count {
		*now += gap
		waits = append(waits, p.took(bytes, *now))
	}
	return waits
}

func TestPaceBeginsWithManySmallReadsInARow(t *testing.T) {
	var p pace
	now := time.Hour
	for i, wait := range reads(&p, &now, manyReads, 100, time.Millisecond) {
		if wait != 0 && i < manyReads-1 {
			t.Fatalf("read %d was paced", i)
		}
	}
	// The first of them was not close to another.
	if p.took(100, now+time.Millisecond) != shortest {
		t.Fatal("a stream of small writes is not paced")
	}
}

func TestPaceIsForNoOtherStream(t *testing.T) {
	for name, p := range map[string]struct {
		bytes int
		gap   time.Duration
	}{"rare": {100, closeReads}, "large": {smallRead, time.Microsecond}, "empty": {0, time.Microsecond}} {
		var pace pace
		now := time.Hour
		for _, wait := range reads(&pace, &now, 10*manyReads, p.bytes, p.gap) {
			if wait != 0 {
				t.Fatalf("%s reads are paced", name)
			}
		}
	}
	// Neither is one whose answers are small and close, but few at a time.
	var answers pace
	now := time.Hour
	for range 100 {
		now += time.Second
		for _, wait := range reads(&answers, &now, manyReads, 100, time.Millisecond) {
			if wait != 0 {
				t.Fatal("answers are paced")
			}
		}
	}
}

func TestPaceFollowsTheStream(t *testing.T) {
	paced := func() (*pace, *time.Duration) {
		p, now := &pace{}, time.Hour
		reads(p, &now, manyReads+1, 100, time.Millisecond)
		return p, &now
	}
	p, now := paced()
	waits := reads(p, now, 6, 100, 0)
	if waits[0] != 2*shortest || waits[5] != longest {
		t.Fatalf("small reads do not lengthen the wait: %v", waits)
	}
	if w := reads(p, now, 3, largeRead, 0); w[2] != longest {
		t.Fatalf("the wait is right and changes: %v", w)
	}
	if w := reads(p, now, 5, largeRead+1, 0); w[0] != longest/2 || w[4] != 0 {
		t.Fatalf("a full pipe does not shorten the wait: %v", w)
	}
	p, now = paced()
	if w := reads(p, now, 5, 0, 0); w[3] != longest || w[4] != 0 {
		t.Fatalf("a pause does not end the pace: %v", w)
	}
	if p.took(100, *now) != 0 {
		t.Fatal("what comes after a pause is paced")
	}
}
