package tar

import (
	"strconv"
	"syscall"

	"microsandbox/agent/internal/failure"
)

// Writer gathers a tar into large writes.
type Writer struct {
	fd      int
	pending []byte
}

func NewWriter(fd int) *Writer { return &Writer{fd: fd, pending: make([]byte, 0, 64<<10)} }

// Mark writes an empty file that stands for something: a whiteout.
func (w *Writer) Mark(path string) error { return w.Header(&Entry{Kind: TypeFile, Path: path}) }

// Header writes all that stands before an entry's contents: a PAX header for what does not fit the plain one, and the map of a
// file with holes (GNU's sparse format, PAX 1.0).
func (w *Writer) Header(e *Entry) error {
	path := e.Path
	if e.Kind == TypeDirectory {
		path += "/"
	}
	stored := e.Size
	var sparse []byte
	var records []byte
	if e.Extents != nil {
		sparse = sparseMap(e.Extents, e.Size)
		stored = int64(len(sparse)) + e.stored()
		records = record(records, "GNU.sparse.major", "1")
		records = record(records, "GNU.sparse.minor", "0")
		records = record(records, "GNU.sparse.name", path)
		records = record(records, "GNU.sparse.realsize", strconv.FormatInt(e.Size, 10))
	}
	if !plain(path) {
		records = record(records, "path", path)
	}
	if !plain(e.Target) {
		records = record(records, "linkpath", e.Target)
	}
	if e.UID > maxOctal7 {
		records = record(records, "uid", strconv.FormatUint(uint64(e.UID), 10))
	}
	if e.GID > maxOctal7 {
		records = record(records, "gid", strconv.FormatUint(uint64(e.GID), 10))
	}
	if stored > maxOctal11 {
		records = record(records, "size", strconv.FormatInt(stored, 10))
	}
	if e.Nanoseconds != 0 || e.Seconds < 0 || e.Seconds > maxOctal11 {
		records = record(records, "mtime", decimal(e.Seconds, e.Nanoseconds))
	}
	for _, x := range e.Xattrs {
		records = record(records, "SCHILY.xattr."+escape(x.Name), x.Value)
	}
	if len(records) > 0 {
		about := Entry{Kind: typePAX, Path: "PaxHeaders/entry", Mode: 0o644}
		if err := w.write(headerBlock(&about, about.Path, int64(len(records)))); err != nil {
			return err
		}
		if err := w.padded(records); err != nil {
			return err
		}
	}
	if err := w.write(headerBlock(e, path, stored)); err != nil {
		return err
	}
	return w.write(sparse)
}

// Contents writes a file's bytes as its header has announced them: one that has become shorter is filled up with zeros.
func (w *Writer) Contents(fd int, e *Entry) error {
	extents := e.Extents
	if extents == nil {
		extents = []Extent{{0, e.Size}}
	}
	buffer := make([]byte, 64<<10)
	var total int64
	for _, x := range extents {
		for at := x.Offset; at < x.Offset+x.Length; {
			piece := buffer[:min(int64(len(buffer)), x.Offset+x.Length-at)]
			n, err := syscall.Pread(fd, piece, at)
			if err == syscall.EINTR {
				continue
			}
			if err != nil {
				return failure.New(failure.Internal, failure.Describe("read "+e.Path, err))
			}
			if n == 0 {
				clear(piece)
				n = len(piece)
			}
			if err := w.write(piece[:n]); err != nil {
				return err
			}
			at += int64(n)
		}
		total += x.Length
	}
	return w.write(make([]byte, padding(total)))
}

// Close ends the archive.
func (w *Writer) Close() error {
	if err := w.write(make([]byte, 2*block)); err != nil {
		return err
	}
	return w.flush()
}

func (e *Entry) stored() (bytes int64) {
	for _, x := range e.Extents {
		bytes += x.Length
	}
	return bytes
}

func (w *Writer) padded(data []byte) error {
	if err := w.write(data); err != nil {
		return err
	}
	return w.write(make([]byte, padding(int64(len(data)))))
}

func (w *Writer) write(data []byte) error {
	w.pending = append(w.pending, data...)
	if len(w.pending) < 64<<10 {
		return nil
	}
	return w.flush()
}

func (w *Writer) flush() error {
	for rest := w.pending; len(rest) > 0; {
		n, err := syscall.Write(w.fd, rest)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	w.pending = w.pending[:0]
	return nil
}

func headerBlock(e *Entry, path string, size int64) []byte {
	b := make([]byte, block)
	copy(b[:100], path)
	octal(b[100:108], uint64(e.Mode))
	octal(b[108:116], uint64(fit(e.UID)))
	octal(b[116:124], uint64(fit(e.GID)))
	if size <= maxOctal11 {
		octal(b[124:136], uint64(size))
	} else {
		octal(b[124:136], 0)
	}
	octal(b[136:148], uint64(min(max(e.Seconds, 0), maxOctal11)))
	b[156] = e.Kind
	copy(b[157:257], e.Target)
	copy(b[257:265], "ustar\x0000")
	octal(b[329:337], uint64(e.Major))
	octal(b[337:345], uint64(e.Minor))
	for i := 148; i < 156; i++ {
		b[i] = ' '
	}
	var sum uint64
	for _, c := range b {
		sum += uint64(c)
	}
	octal(b[148:155], sum)
	return b
}

// fit leaves an owner to the PAX header if it is too large for the plain one.
func fit(id uint32) uint32 {
	if id > maxOctal7 {
		return 0
	}
	return id
}

// octal fills a field with digits and a NUL.
func octal(field []byte, value uint64) {
	for i := len(field) - 2; i >= 0; i-- {
		field[i] = byte('0' + value&7)
		value >>= 3
	}
	field[len(field)-1] = 0
}

// plain says whether a name fits the header: short, and ASCII, since readers take other bytes for text of their locale.
func plain(name string) bool {
	if len(name) > 100 {
		return false
	}
	for i := 0; i < len(name); i++ {
		if name[i] >= 0x80 {
			return false
		}
	}
	return true
}

// record appends "<length> <key>=<value>\n", whose length counts itself.
func record(b []byte, key, value string) []byte {
	rest := len(key) + len(value) + 3
	length := rest + 1
	for len(strconv.Itoa(length))+rest != length {
		length = len(strconv.Itoa(length)) + rest
	}
	b = strconv.AppendInt(b, int64(length), 10)
	b = append(b, ' ')
	b = append(b, key...)
	b = append(b, '=')
	b = append(b, value...)
	return append(b, '\n')
}

// escape does as GNU tar: a key ends at the first equals sign.
func escape(name string) string {
	b := make([]byte, 0, len(name))
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case '%':
			b = append(b, "%25"...)
		case '=':
			b = append(b, "%3D"...)
		default:
			b = append(b, name[i])
		}
	}
	return string(b)
}

// decimal writes a time as PAX has it; the nanoseconds count forward also before 1970.
func decimal(seconds, nanoseconds int64) string {
	if nanoseconds == 0 {
		return strconv.FormatInt(seconds, 10)
	}
	sign := ""
	if seconds < 0 {
		sign, seconds, nanoseconds = "-", -seconds-1, 1_000_000_000-nanoseconds
	}
	digits := strconv.FormatInt(1_000_000_000+nanoseconds, 10)[1:]
	for digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	return sign + strconv.FormatInt(seconds, 10) + "." + digits
}

func sparseMap(extents []Extent, size int64) []byte {
	// GNU tar makes a file as long as its last piece reaches: one that ends in a hole needs an empty piece there.
	last := int64(0)
	if n := len(extents); n > 0 {
		last = extents[n-1].Offset + extents[n-1].Length
	}
	all := extents
	if last < size {
		all = append(append([]Extent{}, extents...), Extent{size, 0})
	}
	b := strconv.AppendInt(nil, int64(len(all)), 10)
	b = append(b, '\n')
	for _, x := range all {
		b = append(strconv.AppendInt(b, x.Offset, 10), '\n')
		b = append(strconv.AppendInt(b, x.Length, 10), '\n')
	}
	return append(b, make([]byte, padding(int64(len(b))))...)
}

func padding(bytes int64) int64 { return (block - bytes%block) % block }
