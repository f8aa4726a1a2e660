// Package tar writes and reads tars, as far as trees of files need it: PAX with GNU's sparse files. The standard library's brings
// reflection and fmt along, which the agent does without.
package tar

// The types of tar entries (POSIX.1-2017, pax, "ustar Interchange Format").
const (
	TypeFile      = '0'
	TypeLink      = '1'
	TypeSymlink   = '2'
	TypeChar      = '3'
	TypeBlock     = '4'
	TypeDirectory = '5'
	TypeFifo      = '6'
	typePAX       = 'x'

	block = 512
	// maxOctal7 and maxOctal11 are the largest numbers of a header's fields.
	maxOctal7  = 1<<21 - 1
	maxOctal11 = 1<<33 - 1
)

// Entry is what a tar says of a file. Names are bytes.
type Entry struct {
	Kind                 byte
	Path, Target         string
	Mode, UID, GID       uint32
	Seconds, Nanoseconds int64
	Size                 int64
	Extents              []Extent // of a file with holes: the parts that are stored
	Major, Minor         uint32
	Xattrs               []Xattr
}

// Extent is a part of a file.
type Extent struct{ Offset, Length int64 }

// Xattr is an extended attribute.
type Xattr struct{ Name, Value string }
