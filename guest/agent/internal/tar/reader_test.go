package tar

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"microsandbox/agent/internal/failure"
)

func everything(b []byte) error {
	for r := NewReader(bytes.NewReader(b)); ; {
		e, err := r.Next()
		if err != nil || e == nil {
			return err
		}
		end := int64(0)
		err = r.Contents(e, func(piece []byte, at int64) error {
			if at < end || at+int64(len(piece)) > e.Size {
				panic("a piece outside the file")
			}
			end = at + int64(len(piece))
			return nil
		})
		if err != nil {
			return err
		}
	}
}

func archive(t *testing.T, all ...Entry) []byte {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "tar")
	must(t, err)
	defer file.Close()
	w := NewWriter(int(file.Fd()))
	for _, e := range all {
		must(t, w.Header(&e))
		must(t, w.Contents(int(file.Fd()), &e))
	}
	must(t, w.Close())
	b, err := os.ReadFile(file.Name())
	must(t, err)
	return b
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	want := Entry{
		Kind: TypeFile, Path: strings.Repeat("p", 300), Mode: 0o4755, UID: 3_000_000, GID: 4_000_000_000, Seconds: -5, Nanoseconds: 250_000_000,
		Size: 10_000, Extents: []Extent{{4096, 100}, {9000, 1000}}, Xattrs: []Xattr{{"user.a=%b", "v\nw"}},
	}
	r := NewReader(bytes.NewReader(archive(t, want, Entry{Kind: TypeSymlink, Path: "l", Target: strings.Repeat("é", 99)})))
	e, err := r.Next()
	must(t, err)
	if e.Path != want.Path || e.Mode != want.Mode || e.UID != want.UID || e.GID != want.GID || e.Seconds != -5 || e.Nanoseconds != 250_000_000 ||
		e.Size != want.Size || len(e.Extents) != 2 || e.Extents[1] != want.Extents[1] || len(e.Xattrs) != 1 || e.Xattrs[0] != want.Xattrs[0] {
		t.Errorf("%+v", e)
	}
	e, err = r.Next() // without taking the contents
	must(t, err)
	if e.Path != "l" || e.Target != strings.Repeat("é", 99) {
		t.Errorf("%+v", e)
	}
	if e, err = r.Next(); e != nil || err != nil {
		t.Errorf("%v %v", e, err)
	}
}

// pax is an entry behind records, whose sums are right.
func pax(records string, e Entry) []byte {
	b := append(headerBlock(&Entry{Kind: typePAX}, "x", int64(len(records))), records...)
	b = append(b, make([]byte, padding(int64(len(records))))...)
	return append(b, headerBlock(&e, e.Path, e.Size)...)
}

func TestHostileTarsAreRefused(t *testing.T) {
	sparse := func(size, data string) []byte {
		var records []byte
		for _, r := range [][2]string{{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", size}} {
			records = record(records, r[0], r[1])
		}
		b := pax(string(records), Entry{Kind: TypeFile, Path: "f", Size: int64(len(data))})
		return append(append(b, data...), make([]byte, 2*block)...)
	}
	huge := headerBlock(&Entry{Kind: typePAX}, "x", maxRecords+1)
	sum := headerBlock(&Entry{Kind: TypeFile}, "f", 0)
	sum[0] = 'g'
	for name, b := range map[string][]byte{
		"nothing":             {},
		"cut off":             archive(t, Entry{Kind: TypeFile, Path: "f", Size: 5000})[:1024],
		"a wrong sum":         sum,
		"records too long":    huge,
		"a record too long":   pax("99 path=x\n", Entry{Kind: TypeFile}),
		"a record of no end":  pax("8 path=x", Entry{Kind: TypeFile}),
		"a negative length":   pax("-9 path=x\n", Entry{Kind: TypeFile}),
		"a length of zero":    pax("0 path=x\n", Entry{Kind: TypeFile}),
		"no key":              pax("5 =x\n", Entry{Kind: TypeFile}),
		"a negative size":     pax("11 size=-5\n", Entry{Kind: TypeFile}),
		"a size beyond all":   pax("29 size=9999999999999999999\n", Entry{Kind: TypeFile}),
		"a NUL in a name":     pax("11 path=\x00x\n", Entry{Kind: TypeFile}),
		"a name too long":     pax(string(record(nil, "path", strings.Repeat("n", maxName+1))), Entry{Kind: TypeFile}),
		"an owner beyond all": pax("18 uid=4294967295\n", Entry{Kind: TypeFile}),
		"an unknown type":     headerBlock(&Entry{Kind: 'V'}, "v", 0),
		"holes too many":      sparse("5", "999999999\n"+strings.Repeat("\x00", 502)),
		"holes out of order":  sparse("50", "2\n9\n1\n5\n1\n"+strings.Repeat("\x00", 502)),
		"a hole outside":      sparse("5", "1\n4\n2\n"+strings.Repeat("\x00", 506)),
		"a hole beyond all":   sparse("5", "1\n9223372036854775807\n1\n"+strings.Repeat("\x00", 488)),
		"more than the map":   sparse("5", "1\n0\n1\n"+strings.Repeat("\x00", 506+5)),
		"no map":              sparse("5", strings.Repeat("7", 512)),
		"no size":             sparse("", "0\n"+strings.Repeat("\x00", 510)),
	} {
		err := everything(b)
		fail, ok := err.(*failure.Failure)
		if !ok || fail.Code != failure.InvalidArgument && fail.Code != failure.Unsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever comes ends in an error or the end, and within its bounds.
func TestDamagedTars(t *testing.T) {
	whole := archive(t,
		Entry{Kind: TypeFile, Path: strings.Repeat("p", 300), Size: 3000, Xattrs: []Xattr{{"user.a", "b"}}},
		Entry{Kind: TypeFile, Path: "s", Size: 10_000, Extents: []Extent{{4096, 100}, {9000, 1000}}},
		Entry{Kind: TypeLink, Path: "l", Target: "s"})
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := bytes.Clone(whole)
		for range 1 + random.IntN(4) {
			at := random.IntN(len(b))
			b[at] = byte(random.IntN(256))
			// A right sum lets the damage through to what reads on.
			head := at / block * block
			if sum := b[head : head+block]; number8(sum) {
				fixSum(sum)
			}
		}
		_ = everything(b[:random.IntN(len(b)+1)])
	}
}

func number8(b []byte) bool { _, ok := number(b[148:156]); return ok && string(b[257:262]) == "ustar" }

func fixSum(b []byte) {
	var sum uint64
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += uint64(c)
	}
	octal(b[148:155], sum)
}
