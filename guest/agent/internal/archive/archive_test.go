package archive

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/tar"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("owners and devices need root")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func packed(t *testing.T, path string, follow bool) ([]byte, error) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "tar")
	must(t, err)
	defer file.Close()
	fail := pack(tar.NewWriter(int(file.Fd())), path, follow)
	b, err := os.ReadFile(file.Name())
	must(t, err)
	return b, fail
}

func unpack(t *testing.T, b []byte, dir string, own owners) error {
	t.Helper()
	return extract(tar.NewReader(bytes.NewReader(b)), dir, own)
}

func refused(t *testing.T, err error, code, words string) {
	t.Helper()
	fail, ok := err.(*failure.Failure)
	if !ok || fail.Code != code || !strings.Contains(fail.Message, words) {
		t.Errorf("got %v, not %s with %q", err, code, words)
	}
}

// state tells all that is kept of a tree, by the host's own tools.
func state(t *testing.T, dir string) string {
	t.Helper()
	script := `find . -mindepth 1 -printf '%p %y %m %U:%G %s %T@ %n %l\n' | sort; find . -type f -print0 | sort -z | xargs -0 sha256sum; getfattr -R -d . 2>/dev/null || true`
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func blocks(t *testing.T, path string) int64 {
	t.Helper()
	var st syscall.Stat_t
	must(t, syscall.Stat(path, &st))
	return st.Blocks * 512
}

// newTree makes a folder with everything that a tree can hold.
func newTree(t *testing.T) (dir string, at func(string) string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "tree")
	at = func(name string) string { return filepath.Join(dir, name) }
	when := time.Unix(1_600_000_000, 123_456_789)
	long := strings.Repeat("d", 120) + "/" + strings.Repeat("f", 200)
	must(t, os.MkdirAll(filepath.Dir(at(long)), 0o750))
	must(t, os.WriteFile(at(long), []byte("long"), 0o600))
	must(t, os.WriteFile(at("b"), bytes.Repeat([]byte("b"), 300_001), 0o644))
	must(t, os.Chown(at("b"), 3_000_000, 2_500_000)) // takes set-uid away
	must(t, os.Chmod(at("b"), 0o755|os.ModeSetuid))
	must(t, os.Link(at("b"), at("c")))
	must(t, os.Symlink("../../"+strings.Repeat("x", 150), at("link")))
	must(t, os.WriteFile(at("caf\xe9\n new"), nil, 0o644))
	must(t, os.WriteFile(at("empty"), nil, 0))
	must(t, syscall.Mkfifo(at("fifo"), 0o622))
	must(t, syscall.Mknod(at("null"), syscall.S_IFCHR|0o666, 1<<8|3))
	must(t, os.MkdirAll(at("sub/sub"), 0o700))
	must(t, os.Chmod(at("sub"), 0o555|os.ModeSticky))
	f, err := os.Create(at("sparse"))
	must(t, err)
	for i := range int64(10) {
		_, err = f.WriteAt([]byte("data"), i*(4<<20))
		must(t, err)
	}
	must(t, f.Truncate(50<<20))
	must(t, f.Close())
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type()&os.ModeSymlink == 0 {
			err = os.Chtimes(path, when, when)
		}
		return err
	}))
	return dir, at
}

func TestATreeComesBackAsItWas(t *testing.T) {
	needRoot(t)
	dir, at := newTree(t)
	_ = syscall.Setxattr(at("b"), "user.a=b", []byte("v\x00w"), 0) // not every file system takes it
	b, err := packed(t, dir, false)
	must(t, err)
	if len(b) > 2<<20 {
		t.Errorf("holes are in the tar: %d bytes", len(b))
	}
	to := t.TempDir()
	must(t, unpack(t, b, to, owners{keep: true}))
	if got, want := state(t, filepath.Join(to, "tree")), state(t, dir); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if blocks(t, filepath.Join(to, "tree/sparse")) > 1<<20 {
		t.Error("holes were filled")
	}
	again, _ := packed(t, dir, false)
	if !bytes.Equal(b, again) {
		t.Error("the same tree gave another tar")
	}
}

// The real program is at the other end, in each format that it writes.
func TestWithTheSystemsTar(t *testing.T) {
	needRoot(t)
	dir, _ := newTree(t)
	want := state(t, dir)
	b, err := packed(t, dir+"/.", false)
	must(t, err)
	to := t.TempDir()
	cmd := exec.Command("tar", "-xpf", "-", "--numeric-owner", "-C", to)
	cmd.Stdin = bytes.NewReader(b)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := state(t, to); got != want {
		t.Errorf("tar made\n%s\nof\n%s", got, want)
	}
	for _, format := range []string{"--format=posix", "--format=gnu", "--format=posix --sparse", "--format=gnu --sparse"} {
		args := append(strings.Fields(format), "-cf", "-", "-C", dir, ".")
		b, err := exec.Command("tar", args...).Output()
		must(t, err)
		to := t.TempDir()
		must(t, unpack(t, b, to, owners{keep: true}))
		got, want := state(t, to), want
		if !strings.Contains(format, "posix") { // it has no fractions of seconds
			got, want = withoutFractions(got), withoutFractions(want)
		}
		if got != want {
			t.Errorf("of %s came\n%s\nnot\n%s", format, got, want)
		}
		if strings.Contains(format, "sparse") && blocks(t, filepath.Join(to, "sparse")) > 1<<20 {
			t.Errorf("%s: holes were filled", format)
		}
	}
}

func withoutFractions(state string) string {
	var lines []string
	for _, line := range strings.Split(state, "\n") {
		fields := strings.Split(line, " ")
		for i, field := range fields {
			if seconds, fraction, ok := strings.Cut(field, "."); ok && len(seconds) == 10 && len(fraction) == 10 {
				fields[i] = seconds
			}
		}
		if !strings.Contains(line, "./link") {
			lines = append(lines, strings.Join(fields, " "))
		}
	}
	return strings.Join(lines, "\n")
}

func names(t *testing.T, b []byte) string {
	t.Helper()
	var all []string
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		e, err := r.Next()
		must(t, err)
		if e == nil {
			return strings.Join(all, " ")
		}
		all = append(all, string(e.Kind)+e.Path)
	}
}

func TestNamesBeginWithTheLastOfThePath(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/a/b", 0o755))
	must(t, os.WriteFile(dir+"/a/b/x", []byte("x"), 0o644))
	must(t, os.Symlink("b", dir+"/a/l"))
	for path, want := range map[string]string{
		"/a/b": "5b/ 0b/x", "/a//b/": "5b/ 0b/x", "/a/b/.": "5./ 0./x", "/a/b/..": "5./ 5./b/ 0./b/x 2./l", "/a/b/x": "0x",
		"/a/l": "2l", "/a/l/": "5l/ 0l/x", "/a/l/.": "5./ 0./x",
	} {
		b, err := packed(t, dir+path, false)
		if err != nil || names(t, b) != want {
			t.Errorf("%s: %v %s, not %s", path, err, names(t, b), want)
		}
	}
	b, err := packed(t, dir+"/a/l", true)
	if err != nil || names(t, b) != "5l/ 0l/x" {
		t.Errorf("followed: %v %s", err, names(t, b))
	}
	_, err = packed(t, dir+"/a/none", false)
	refused(t, err, failure.NotFound, "/a/none")
	_, err = packed(t, dir+"/a/b/x/", false)
	refused(t, err, failure.InvalidArgument, "/a/b/x")
	b, err = packed(t, "/proc", false)
	if err != nil || names(t, b) != "5proc/" {
		t.Errorf("what the kernel makes up is in the tar: %v %.200s", err, names(t, b))
	}
}

// entriesOf makes a tar of what is asked, however strange.
func entriesOf(t *testing.T, all ...tar.Entry) []byte {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "tar")
	must(t, err)
	w := tar.NewWriter(int(file.Fd()))
	for _, e := range all {
		must(t, w.Header(&e))
		must(t, w.Contents(int(file.Fd()), &tar.Entry{Path: e.Path, Size: e.Size}))
	}
	must(t, w.Close())
	_, err = file.Seek(0, 0)
	must(t, err)
	b, err := io.ReadAll(file)
	must(t, err)
	return b
}

func TestNothingLeavesTheFolder(t *testing.T) {
	needRoot(t)
	for name, c := range map[string]struct {
		tar   []byte
		words string
	}{
		"dots":                       {entriesOf(t, tar.Entry{Kind: tar.TypeFile, Path: "a/../../out"}), "leads out"},
		"a link of its own":          {entriesOf(t, tar.Entry{Kind: tar.TypeSymlink, Path: "l", Target: ".."}, tar.Entry{Kind: tar.TypeFile, Path: "l/out"}), "cannot put anything into l"},
		"a link there":               {entriesOf(t, tar.Entry{Kind: tar.TypeFile, Path: "there/out"}), "cannot put anything into there"},
		"a hard link":                {entriesOf(t, tar.Entry{Kind: tar.TypeLink, Path: "h", Target: "../secret"}), "leads out"},
		"a hard link through a link": {entriesOf(t, tar.Entry{Kind: tar.TypeLink, Path: "h", Target: "there/secret"}), "cannot put anything into there"},
		"a folder over a link":       {entriesOf(t, tar.Entry{Kind: tar.TypeDirectory, Path: "there"}), "something else"},
	} {
		base := t.TempDir()
		must(t, os.Mkdir(base+"/in", 0o755))
		must(t, os.WriteFile(base+"/secret", []byte("s"), 0o600))
		must(t, os.Symlink("..", base+"/in/there"))
		err := unpack(t, c.tar, base+"/in", owners{})
		if err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := filepath.Glob(base + "/*"); len(left) != 2 {
			t.Errorf("%s: %v", name, left)
		}
	}
	// A link in the way of a file is replaced, not followed; a name with a slash in front is one below the folder.
	base := t.TempDir()
	must(t, os.WriteFile(base+"/secret", []byte("s"), 0o600))
	must(t, os.Mkdir(base+"/in", 0o755))
	must(t, os.Symlink("../secret", base+"/in/l"))
	must(t, unpack(t, entriesOf(t, tar.Entry{Kind: tar.TypeFile, Path: "/l", Mode: 0o640}), base+"/in", owners{uid: 7, gid: 8}))
	var st syscall.Stat_t
	must(t, syscall.Lstat(base+"/in/l", &st))
	if st.Mode != syscall.S_IFREG|0o640 || st.Uid != 7 || st.Gid != 8 {
		t.Errorf("%o %d:%d", st.Mode, st.Uid, st.Gid)
	}
	if b, _ := os.ReadFile(base + "/secret"); string(b) != "s" {
		t.Error("it was written through a link")
	}
}

func TestWhatIsThere(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/folder", 0o701))
	must(t, os.Chown(dir+"/folder", 5, 6))
	must(t, os.WriteFile(dir+"/file", []byte("old"), 0o600))
	old, err := os.Open(dir + "/file")
	must(t, err)
	defer old.Close()
	must(t, unpack(t, entriesOf(t,
		tar.Entry{Kind: tar.TypeDirectory, Path: "folder", Mode: 0o777}, tar.Entry{Kind: tar.TypeFile, Path: "folder/new"},
		tar.Entry{Kind: tar.TypeFile, Path: "file", Size: 1}, tar.Entry{Kind: tar.TypeFile, Path: "file", Size: 2},
		tar.Entry{Kind: tar.TypeFile, Path: "late/x"}, tar.Entry{Kind: tar.TypeDirectory, Path: "late", Mode: 0o711, Seconds: 5},
	), dir, owners{}))
	var st syscall.Stat_t
	must(t, syscall.Stat(dir+"/folder", &st))
	if st.Mode&0o7777 != 0o701 || st.Uid != 5 {
		t.Errorf("the folder was changed: %o %d", st.Mode, st.Uid)
	}
	must(t, syscall.Stat(dir+"/late", &st))
	if st.Mode&0o7777 != 0o711 || st.Mtim.Sec != 5 {
		t.Errorf("the folder is not as the tar says: %o %d", st.Mode, st.Mtim.Sec)
	}
	if info, err := os.Stat(dir + "/file"); err != nil || info.Size() != 2 {
		t.Errorf("the last entry does not count: %v %v", info, err)
	}
	if b, _ := io.ReadAll(old); string(b) != "old" {
		t.Errorf("who has the old file open sees %q", b)
	}
	must(t, os.Chmod(dir+"/folder", 0o2755))
	must(t, unpack(t, entriesOf(t, tar.Entry{Kind: tar.TypeFile, Path: "folder/group", Mode: 0o644}), dir, owners{}))
	must(t, syscall.Stat(dir+"/folder/group", &st))
	if st.Gid != 0 || st.Mode&0o7777 != 0o644 {
		t.Errorf("a folder gave its group away: %d %o", st.Gid, st.Mode)
	}
	refused(t, unpack(t, entriesOf(t, tar.Entry{Kind: tar.TypeFile, Path: "folder"}), dir, owners{}), failure.AlreadyExists, "folder")
	refused(t, unpack(t, entriesOf(t, tar.Entry{Kind: tar.TypeDirectory, Path: "file"}), dir, owners{}), failure.AlreadyExists, "file")
	refused(t, unpack(t, nil, dir+"/none", owners{}), failure.NotFound, "/none")
	refused(t, unpack(t, nil, dir+"/file", owners{}), failure.InvalidArgument, "/file")
	// A link to nothing does not cost what it would have replaced.
	refused(t, unpack(t, entriesOf(t, tar.Entry{Kind: tar.TypeLink, Path: "file", Target: "none"}), dir, owners{}), failure.NotFound, "none")
	if _, err := os.Stat(dir + "/file"); err != nil {
		t.Error(err)
	}
}
