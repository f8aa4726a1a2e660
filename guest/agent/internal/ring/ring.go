// Package ring keeps a stretch of a byte stream, addressed by offsets that count from the stream's beginning. Its
// memory comes from the kernel page by page and not from the garbage-collected heap: a ring costs what it holds,
// gives it back at once, and never makes the collector run.
package ring

import "syscall"

const (
	// Size is the most that one ring holds: the protocol's "output kept per stream".
	Size = 1 << 20
	mask = Size - 1

	// keepWarm is how much of a pooled ring stays allocated: enough for the output of most commands, so that
	// the next process's first bytes take no page fault.
	keepWarm = 16 << 10
	// poolMax is how many unused rings are kept.
	poolMax = 16
)

// Ring holds the bytes from Start to End of a stream.
type Ring struct {
	buf        []byte
	start, end uint64
	bias       uint64 // the offset that lies at buf[0]; moved whenever the ring is empty, so that low pages are used again
	touched    uint64 // how far into buf anything was ever written
}

// Pool hands out rings. Budget is how many bytes all of them may hold together: 1,024 processes with 2 MiB
// each would be more than a small VM has.
type Pool struct {
	Budget int64
	free   []*Ring
}

// NewPool allocates warm rings in advance.
func NewPool(budget int64, warm int) *Pool {
	p := &Pool{Budget: budget, free: make([]*Ring, 0, poolMax)}
	for range warm {
		r, err := newRing()
		if err != nil {
			break
		}
		for i := 0; i < keepWarm; i += 4096 {
			r.buf[i] = 0
		}
		p.free = append(p.free, r)
	}
	return p
}

func newRing() (*Ring, error) {
	buf, err := syscall.Mmap(-1, 0, Size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return nil, err
	}
	return &Ring{buf: buf}, nil
}

// Get returns an empty ring whose stream begins at offset 0.
func (p *Pool) Get() (*Ring, error) {
	n := len(p.free)
	if n == 0 {
		return newRing()
	}
	r := p.free[n-1]
	p.free = p.free[:n-1]
	return r, nil
}

// Put takes a ring back, with all it holds.
func (p *Pool) Put(r *Ring) {
	p.Release(r, r.end)
	if len(p.free) == poolMax {
		_ = syscall.Munmap(r.buf)
		return
	}
	if r.touched > keepWarm {
		_ = syscall.Madvise(r.buf[keepWarm:], syscall.MADV_DONTNEED)
	}
	*r = Ring{buf: r.buf, touched: min(r.touched, keepWarm)}
	p.free = append(p.free, r)
}

// Release forgets what lies before offset.
func (p *Pool) Release(r *Ring, offset uint64) {
	if offset <= r.start {
		return
	}
	offset = min(offset, r.end)
	p.Budget += int64(offset - r.start)
	r.start = offset
	if r.start == r.end {
		r.bias = r.end
	}
}

// Commit says that n bytes were written into Room.
func (p *Pool) Commit(r *Ring, n int) {
	p.Budget -= int64(n)
	at := (r.end - r.bias) & mask
	r.touched = max(r.touched, at+uint64(n))
	r.end += uint64(n)
}

// Start is the offset of the oldest byte held.
func (r *Ring) Start() uint64 { return r.start }

// End is the offset behind the newest byte held: the stream's length so far.
func (r *Ring) End() uint64 { return r.end }

// Room returns the free bytes behind End that lie in one piece.
func (r *Ring) Room() []byte {
	at := (r.end - r.bias) & mask
	return r.buf[at:min(Size, at+Size-(r.end-r.start))]
}

// At returns the bytes from offset on that lie in one piece, up to limit.
func (r *Ring) At(offset, limit uint64) []byte {
	limit = min(limit, r.end)
	if offset < r.start || offset >= limit {
		return nil
	}
	at := (offset - r.bias) & mask
	return r.buf[at:min(Size, at+limit-offset)]
}

// Write copies as much of b as fits and returns how much that was.
func (p *Pool) Write(r *Ring, b []byte) int {
	total := 0
	for len(b) > 0 {
		n := copy(r.Room(), b)
		if n == 0 {
			break
		}
		p.Commit(r, n)
		b = b[n:]
		total += n
	}
	return total
}
