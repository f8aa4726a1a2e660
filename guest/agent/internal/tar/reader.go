package tar

import (
	"bytes"
	"io"
	"strings"
	"syscall"

	"microsandbox/agent/internal/failure"
)

// What a tar may ask for at most; it may come from anywhere. Files may be as large as numbers allow: nothing of them is kept.
const (
	// maxRecords bounds the PAX records of one entry, and those that hold for all, in bytes.
	maxRecords = 1 << 20
	// maxName is the kernel's bound for a path, and for what a link holds.
	maxName = 4095
	// maxExtents bounds the map of a file with holes.
	maxExtents = 1 << 18
	// maxSize bounds a file and where its pieces lie.
	maxSize = 1<<62 - 1

	typeOldFile     = 0
	typeContiguous  = '7'
	typeOldSparse   = 'S'
	typeGlobalPAX   = 'g'
	typeLongName    = 'L'
	typeLongTarget  = 'K'
	readBufferBytes = 128 << 10
)

// Reader reads a tar as it comes: ustar, PAX, GNU's long names, and its sparse files as PAX 1.0 and in the old format.
type Reader struct {
	in     io.Reader
	buffer []byte
	from   int // what is left of the buffer: from … to
	to     int
	left   int64 // bytes of the current entry that are still to come, without padding
	pad    int64
	global map[string]string
	block  [block]byte
}

// NewReader reads from in.
func NewReader(in io.Reader) *Reader {
	return &Reader{in: in, buffer: make([]byte, readBufferBytes), global: map[string]string{}}
}

// Next skips what is left of the current entry and reads the head of the next; nil at the end of the archive.
func (r *Reader) Next() (*Entry, error) {
	var records map[string]string
	var longName, longTarget string
	for {
		if err := r.skip(); err != nil {
			return nil, err
		}
		if err := r.full(r.block[:]); err != nil {
			return nil, err
		}
		if r.block == [block]byte{} {
			return nil, nil
		}
		e, stored, err := parseHeader(r.block[:])
		if err != nil {
			return nil, err
		}
		r.expect(stored)
		switch e.Kind {
		case typePAX, typeGlobalPAX:
			text, err := r.text(maxRecords)
			if err != nil {
				return nil, err
			}
			into := r.global
			if e.Kind == typePAX {
				records = map[string]string{}
				into = records
			}
			if err := parseRecords(text, into); err != nil {
				return nil, err
			}
		case typeLongName, typeLongTarget:
			text, err := r.text(maxName + 1)
			if err != nil {
				return nil, err
			}
			name, _, _ := strings.Cut(text, "\x00")
			if e.Kind == typeLongName {
				longName = name
			} else {
				longTarget = name
			}
		default:
			if longName != "" {
				e.Path = longName
			}
			if longTarget != "" {
				e.Target = longTarget
			}
			return e, r.complete(e, stored, records)
		}
	}
}

// complete adds what PAX records say, and reads the map of a file with holes.
func (r *Reader) complete(e *Entry, stored int64, records map[string]string) error {
	sparse := false
	for _, all := range [2]map[string]string{r.global, records} {
		if err := e.apply(all, &stored, &sparse); err != nil {
			return err
		}
	}
	if strings.HasSuffix(e.Path, "/") && (e.Kind == typeOldFile || e.Kind == TypeFile) {
		e.Kind = TypeDirectory // as tars before POSIX have it
	}
	switch e.Kind {
	case typeOldFile, TypeFile, typeContiguous:
		e.Kind = TypeFile
	case typeOldSparse:
		e.Kind = TypeFile
		r.expect(stored)
		return r.oldSparse(e)
	case TypeLink, TypeSymlink, TypeChar, TypeBlock, TypeDirectory, TypeFifo:
		stored, e.Size, sparse = 0, 0, false // some tars give a link the size of what it leads to
	default:
		return failure.New(failure.Unsupported, "the tar has an entry of an unknown type: "+e.Path)
	}
	if len(e.Path) > maxName || len(e.Target) > maxName || strings.IndexByte(e.Path, 0) >= 0 || strings.IndexByte(e.Target, 0) >= 0 {
		return invalid("a name that is no path")
	}
	r.expect(stored)
	if sparse {
		return r.sparseMap(e)
	}
	e.Size = stored
	return nil
}

// Contents gives an entry's bytes piece by piece, each with where in the file it belongs; holes are left out.
func (r *Reader) Contents(e *Entry, take func(piece []byte, at int64) error) error {
	extents := e.Extents
	if extents == nil {
		extents = []Extent{{0, e.Size}}
	}
	for _, x := range extents {
		for at, left := x.Offset, x.Length; left > 0; {
			piece, err := r.piece(left)
			if err != nil {
				return err
			}
			if err := take(piece, at); err != nil {
				return err
			}
			at += int64(len(piece))
			left -= int64(len(piece))
		}
	}
	return nil
}

// Drain reads what follows the end of the archive, so that who writes it is not cut off.
func (r *Reader) Drain() error {
	r.from, r.to = 0, 0
	for {
		if _, err := r.in.Read(r.buffer); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (r *Reader) expect(bytes int64) { r.left, r.pad = bytes, padding(bytes) }

// piece is at most so much of the current entry, valid until the next call.
func (r *Reader) piece(most int64) ([]byte, error) {
	most = min(most, r.left)
	if most <= 0 {
		return nil, invalid("a file that is shorter than its map")
	}
	piece, err := r.next(most)
	r.left -= int64(len(piece))
	return piece, err
}

// text is all of the current entry.
func (r *Reader) text(most int64) (string, error) {
	if r.left > most {
		return "", invalid("a head that is too long")
	}
	b := make([]byte, r.left)
	r.left = 0
	err := r.full(b)
	return string(b), err
}

func (r *Reader) skip() error {
	for left := r.left + r.pad; left > 0; {
		piece, err := r.next(left)
		if err != nil {
			return err
		}
		left -= int64(len(piece))
	}
	r.left, r.pad = 0, 0
	return nil
}

func (r *Reader) full(b []byte) error {
	for len(b) > 0 {
		piece, err := r.next(int64(len(b)))
		if err != nil {
			return err
		}
		b = b[copy(b, piece):]
	}
	return nil
}

// next is at least one byte of the stream, and at most so many.
func (r *Reader) next(most int64) ([]byte, error) {
	if r.from == r.to {
		n, err := r.in.Read(r.buffer)
		if err == io.EOF {
			return nil, failure.New(failure.InvalidArgument, "the tar ends early")
		}
		if err != nil {
			return nil, failure.Of("read the tar", err)
		}
		r.from, r.to = 0, n
	}
	piece := r.buffer[r.from:r.to]
	if int64(len(piece)) > most {
		piece = piece[:most]
	}
	r.from += len(piece)
	return piece, nil
}

func parseHeader(b []byte) (e *Entry, stored int64, err error) {
	var sum, signed int64
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int64(c)
		signed += int64(int8(c))
	}
	want, ok := number(b[148:156])
	if !ok || want != sum && want != signed {
		return nil, 0, invalid("a header whose sum is wrong")
	}
	e = &Entry{Kind: b[156], Path: text(b[:100]), Target: text(b[157:257])}
	if string(b[257:263]) == "ustar\x00" {
		if prefix := text(b[345:500]); prefix != "" {
			e.Path = prefix + "/" + e.Path
		}
	}
	var mode, uid, gid, major, minor int64
	for _, field := range [...]struct {
		at, end int
		max     int64
		into    *int64
	}{
		{100, 108, 1<<32 - 1, &mode}, {108, 116, 1<<32 - 2, &uid}, {116, 124, 1<<32 - 2, &gid}, {124, 136, maxSize, &stored},
		{136, 148, 1 << 40, &e.Seconds}, {329, 337, 1<<32 - 1, &major}, {337, 345, 1<<32 - 1, &minor},
	} {
		if field.at >= 329 && string(b[257:262]) != "ustar" {
			break // there were none before POSIX
		}
		n, ok := number(b[field.at:field.end])
		if !ok || n > field.max || n < 0 && field.into != &e.Seconds {
			return nil, 0, invalid("a header with a number out of its bounds")
		}
		*field.into = n
	}
	e.Mode, e.UID, e.GID = uint32(mode)&0o7777, uint32(uid), uint32(gid)
	e.Major, e.Minor = uint32(major), uint32(minor)
	return e, stored, nil
}

func text(field []byte) string {
	if i := bytes.IndexByte(field, 0); i >= 0 {
		field = field[:i]
	}
	return string(field)
}

// number reads a field: octal digits between spaces and NULs, or GNU's base 256, which has the first bit set.
func number(field []byte) (int64, bool) {
	if field[0]&0x80 != 0 {
		value := int64(field[0]&0x3f) - int64(field[0]&0x40)
		for _, c := range field[1:] {
			if value > maxSize>>8 || value < -(maxSize>>8) {
				return 0, false
			}
			value = value<<8 | int64(c)
		}
		return value, true
	}
	digits := strings.Trim(string(field), " \x00")
	var value int64
	for i := 0; i < len(digits); i++ {
		if digits[i] < '0' || digits[i] > '7' || value > maxSize>>3 {
			return 0, false
		}
		value = value<<3 | int64(digits[i]-'0')
	}
	return value, true
}

func invalid(what string) error {
	return failure.New(failure.InvalidArgument, "this is no tar that can be read: "+what)
}

// File reads from a descriptor.
type File int

func (f File) Read(b []byte) (int, error) {
	for {
		n, err := syscall.Read(int(f), b)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}
}
