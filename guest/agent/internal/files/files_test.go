package files

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/wire"
)

// session is a server without a process around it: requests go in as bytes, the fields of replies come out.
type session struct {
	t *testing.T
	server
}

func newSession(t *testing.T) *session {
	return &session{t, server{handles: handles{open: make(map[uint64]handle)}}}
}

// do runs an operation with fields: text, []byte, int, bool or [2]int.
func (s *session) do(op string, fields map[string]any) (wire.Item, *failure.Failure) {
	s.t.Helper()
	b := wire.AppendText(wire.AppendText(wire.AppendMap(nil, len(fields)+1), "op"), op)
	for key, value := range fields {
		b = wire.AppendText(b, key)
		switch v := value.(type) {
		case string:
			b = wire.AppendText(b, v)
		case []byte:
			b = wire.AppendBytes(b, v)
		case int:
			b = wire.AppendInt(b, int64(v))
		case bool:
			b = wire.AppendBool(b, v)
		case [2]int:
			b = wire.AppendInt(wire.AppendInt(wire.AppendArray(b, 2), int64(v[0])), int64(v[1]))
		}
	}
	var d wire.Document
	m, err := d.Parse(b)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &request{server: &s.server, Item: m}
	if fail := r.do(); fail != nil {
		return wire.Item{}, fail
	}
	var reply wire.Document
	item, err := reply.Parse(append(wire.AppendMap(nil, r.pairs), r.reply...))
	if err != nil {
		s.t.Fatalf("%s: the reply is no message: %v", op, err)
	}
	return item, nil
}

func (s *session) must(op string, fields map[string]any) wire.Item {
	s.t.Helper()
	item, fail := s.do(op, fields)
	if fail != nil {
		s.t.Fatalf("%s: %v", op, fail)
	}
	return item
}

func (s *session) fails(code, op string, fields map[string]any) {
	s.t.Helper()
	if _, fail := s.do(op, fields); fail == nil || fail.Code != code {
		s.t.Errorf("%s %v: %v instead of %s", op, fields, fail, code)
	}
}

func TestWriteAndRead(t *testing.T) {
	s := newSession(t)
	path := []byte(t.TempDir() + "/file")
	h := s.must("open", map[string]any{"path": path, "write": true, "create": true, "mode": 0o600})
	n, _ := h.Get("handle").Uint()
	s.must("write", map[string]any{"handle": int(n), "offset": 3, "data": []byte("def")})
	s.must("write", map[string]any{"handle": int(n), "offset": 0, "data": []byte("abc")})
	s.must("close", map[string]any{"handle": int(n), "commit": true})
	s.fails("invalid_argument", "write", map[string]any{"handle": int(n), "data": []byte("x")})
	h = s.must("open", map[string]any{"path": path})
	n, _ = h.Get("handle").Uint()
	if data, _ := s.must("read", map[string]any{"handle": int(n), "offset": 2, "length": 9}).Get("data").Bytes(); string(data) != "cdef" {
		t.Errorf("read %q", data)
	}
	s.fails("invalid_argument", "read", map[string]any{"handle": int(n), "length": maxChunk + 1})
	s.must("close", map[string]any{"handle": int(n)})
	if mode, _ := s.must("stat", map[string]any{"path": path}).Get("mode").Uint(); mode != 0o600 {
		t.Errorf("mode %o", mode)
	}
}

func TestAtomicLeavesNothingBehind(t *testing.T) {
	s := newSession(t)
	dir := t.TempDir()
	os.WriteFile(dir+"/file", []byte("old"), 0o640)
	begin := func() int {
		h := s.must("open", map[string]any{"path": []byte(dir + "/file"), "write": true, "create": true, "atomic": true})
		n, _ := h.Get("handle").Uint()
		s.must("write", map[string]any{"handle": int(n), "data": []byte("new")})
		if b, _ := os.ReadFile(dir + "/file"); string(b) != "old" {
			t.Errorf("%q before it was put in place", b)
		}
		return int(n)
	}
	s.must("close", map[string]any{"handle": begin()})
	begin()
	s.handles.drop()
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("%d files are left", len(list))
	}
	s.must("close", map[string]any{"handle": begin(), "commit": true})
	info, _ := os.Stat(dir + "/file")
	if b, _ := os.ReadFile(dir + "/file"); string(b) != "new" || info.Mode().Perm() != 0o640 {
		t.Errorf("%q, mode %o", b, info.Mode().Perm())
	}
}

func TestHandlesAreBounded(t *testing.T) {
	s := newSession(t)
	defer s.handles.drop()
	path := []byte(t.TempDir() + "/file")
	os.WriteFile(string(path), nil, 0o600)
	for range maxHandles {
		s.must("open", map[string]any{"path": path})
	}
	s.fails("resource_exhausted", "open", map[string]any{"path": path})
}

func TestRefusals(t *testing.T) {
	s := newSession(t)
	dir := t.TempDir()
	syscall.Mkfifo(dir+"/fifo", 0o600)
	os.Symlink("loop", dir+"/loop")
	os.Mkdir(dir+"/full", 0o700)
	os.WriteFile(dir+"/full/x", nil, 0o600)
	at := func(name string) []byte { return []byte(dir + "/" + name) }
	s.fails("invalid_argument", "open", map[string]any{"path": at("fifo")})
	s.fails("invalid_argument", "open", map[string]any{"path": at("full")})
	s.fails("invalid_argument", "open", map[string]any{"path": at("loop")})
	s.fails("not_found", "open", map[string]any{"path": at("none")})
	s.fails("invalid_argument", "stat", map[string]any{"path": []byte("relative")})
	s.fails("invalid_argument", "stat", map[string]any{"path": []byte("/a\x00b")})
	s.fails("invalid_argument", "stat", map[string]any{"path": "/text"})
	s.fails("invalid_argument", "stat", map[string]any{"path": []byte("/" + strings.Repeat("a", maxPath))})
	s.fails("invalid_argument", "stat", map[string]any{"path": at("full/x/below")})
	s.fails("invalid_state", "remove", map[string]any{"path": at("full")})
	s.fails("already_exists", "mkdir", map[string]any{"path": at("full")})
	s.fails("already_exists", "mkdir", map[string]any{"path": at("full/x"), "parents": true})
	s.fails("unsupported", "chattr", map[string]any{"path": at("full")})
	s.fails("invalid_argument", "chmod", map[string]any{"path": at("full"), "mode": 0o10000})
	s.fails("invalid_argument", "utimes", map[string]any{"path": at("full"), "mtime": [2]int{1, 1_000_000_000}})
	s.fails("invalid_argument", "next", map[string]any{"handle": 7})
}

func TestListGoesThroughAllInPages(t *testing.T) {
	s := newSession(t)
	dir := t.TempDir()
	for _, sub := range []string{"a", "a/b", "c"} {
		os.Mkdir(filepath.Join(dir, sub), 0o700)
	}
	const each = 700
	for i := range each {
		for _, sub := range []string{"a", "a/b", "c"} {
			os.WriteFile(filepath.Join(dir, sub, "f"+string(rune('a'+i%26))+strings.Repeat("x", i/26)), nil, 0o600)
		}
	}
	os.Symlink("/", dir+"/out")
	h, _ := s.must("list", map[string]any{"path": []byte(dir), "depth": maxDepth}).Get("handle").Uint()
	seen, pages := map[string]bool{}, 0
	for done := false; !done; pages++ {
		page := s.must("next", map[string]any{"handle": int(h)})
		entries := page.Get("entries")
		if entries.Len() > maxEntries {
			t.Fatalf("a page of %d", entries.Len())
		}
		one := entries.First()
		for range entries.Len() {
			path, _ := one.Get("path").Bytes()
			if seen[string(path)] {
				t.Errorf("%s twice", path)
			}
			seen[string(path)] = true
			one = one.Next()
		}
		done = page.Get("done").True()
	}
	if len(seen) != 3*each+4 || pages < 4 {
		t.Errorf("%d entries in %d pages", len(seen), pages)
	}
	s.must("close", map[string]any{"handle": int(h)})
}

func TestListEntersNoLink(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dir, "folder"), 0o755))
	must(os.Symlink("folder", filepath.Join(dir, "link")))
	l := &listing{root: dir + "/"}
	must(l.enter("folder/", syscall.O_NOFOLLOW))
	// It was a folder when it was looked at, and is a link when it is entered.
	if err := l.enter("link/", syscall.O_NOFOLLOW); err != syscall.ENOTDIR && err != syscall.ELOOP {
		t.Fatalf("a link was entered: %v", err)
	}
	for _, level := range l.levels {
		syscall.Close(level.fd)
	}
}

func TestRemoveFollowsNoLink(t *testing.T) {
	s := newSession(t)
	dir, other := t.TempDir(), t.TempDir()
	os.WriteFile(other+"/keep", nil, 0o600)
	os.MkdirAll(dir+"/x/y", 0o700)
	os.Symlink(other, dir+"/x/y/out")
	s.must("remove", map[string]any{"path": []byte(dir + "/x"), "recursive": true})
	if _, err := os.Stat(other + "/keep"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir + "/x"); err == nil {
		t.Error("it is still there")
	}
}

func TestCopyKeepsHoles(t *testing.T) {
	s := newSession(t)
	dir := t.TempDir()
	f, _ := os.Create(dir + "/sparse")
	f.WriteAt([]byte("middle"), 10<<20)
	f.Truncate(100 << 20)
	f.Close()
	s.must("copy", map[string]any{"path": []byte(dir + "/sparse"), "to": []byte(dir + "/copy")})
	var st syscall.Stat_t
	syscall.Stat(dir+"/copy", &st)
	b := make([]byte, 6)
	g, _ := os.Open(dir + "/copy")
	g.ReadAt(b, 10<<20)
	g.Close()
	if st.Size != 100<<20 || st.Blocks*512 > 1<<20 || string(b) != "middle" {
		t.Errorf("size %d, %d blocks, %q", st.Size, st.Blocks, b)
	}
	s.fails("already_exists", "copy", map[string]any{"path": []byte(dir + "/sparse"), "to": []byte(dir + "/copy")})
}

// Requests come from the host, which is trusted; but nothing that is malformed may end the process.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("\xa1\x62op\x64stat"))
	f.Add([]byte("\xa2\x62op\x64next\x66handle\x01"))
	f.Fuzz(func(t *testing.T, message []byte) {
		var d wire.Document
		m, err := d.Parse(message)
		if err != nil {
			return
		}
		// Only what changes nothing.
		for _, op := range []func(*request) *failure.Failure{(*request).stat, (*request).lstat, (*request).readlink,
			(*request).read, (*request).next, (*request).list} {
			s := newSession(t)
			r := &request{server: &s.server, Item: m}
			op(r)
			s.handles.drop()
		}
	})
}
