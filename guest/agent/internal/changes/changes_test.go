package changes

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test's own executable be the program that the agent's is in a VM.
func TestMain(m *testing.M) {
	if os.Args[0] == "changes" {
		os.Exit(Run())
	}
	os.Exit(m.Run())
}

// layerOf runs the program on an upper directory.
func layerOf(t *testing.T, dir string) ([]byte, string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("chroot needs root")
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var out, errs bytes.Buffer
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"changes"}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &out, &errs, []*os.File{d}
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.Bytes(), errs.String()
}

func newUpper(t *testing.T) (dir string, at func(string) string) {
	t.Helper()
	dir = t.TempDir()
	at = func(name string) string { return filepath.Join(dir, upper, name) }
	must(t, os.MkdirAll(at("etc"), 0o755))
	return dir, at
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// read gives all entries by name, in order.
func read(t *testing.T, layer []byte) (names []string, headers map[string]*tar.Header, data map[string]string) {
	t.Helper()
	headers, data = map[string]*tar.Header{}, map[string]string{}
	r := tar.NewReader(bytes.NewReader(layer))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return names, headers, data
		}
		must(t, err)
		content, err := io.ReadAll(r)
		must(t, err)
		names = append(names, h.Name)
		headers[h.Name], data[h.Name] = h, string(content)
	}
}

func TestEverythingThatATreeCanHold(t *testing.T) {
	dir, at := newUpper(t)
	when := time.Unix(1_700_000_000, 123_456_789)
	long := strings.Repeat("d", 120) + "/" + strings.Repeat("f", 200)
	must(t, os.MkdirAll(filepath.Dir(at(long)), 0o750))
	must(t, os.WriteFile(at(long), []byte("long"), 0o600))
	must(t, os.WriteFile(at("b"), bytes.Repeat([]byte("b"), 200_000), 0o644))
	must(t, os.Chown(at("b"), 3_000_000, 2_500_000)) // takes set-uid away
	must(t, os.Chmod(at("b"), 0o755|os.ModeSetuid))
	must(t, os.Chtimes(at("b"), when, when))
	must(t, os.Link(at("b"), at("c")))
	must(t, os.Symlink("../../"+strings.Repeat("x", 150), at("link")))
	must(t, os.WriteFile(at("caf\xe9"), nil, 0o644))
	must(t, syscall.Setxattr(at("b"), "user.a=b", []byte("v\x00w"), 0))
	must(t, syscall.Mkfifo(at("fifo"), 0o622))
	must(t, syscall.Mknod(at("null"), syscall.S_IFCHR|0o666, 1<<8|3))
	must(t, syscall.Mknod(at("gone"), syscall.S_IFCHR, 0))
	must(t, os.Mkdir(at("opaque"), 0o755))
	must(t, syscall.Setxattr(at("opaque"), opaqueXattr, []byte("y"), 0))
	must(t, syscall.Setxattr(at("opaque"), "trusted.overlay.origin", []byte("x"), 0))
	must(t, os.WriteFile(at("opaque/new"), []byte("n"), 0o644))
	for _, ours := range []string{"proc", "dev", "etc/hosts", "etc/hostname", "etc/machine-id"} {
		must(t, os.WriteFile(at(ours), []byte("ours"), 0o644))
	}
	must(t, os.WriteFile(at("etc/passwd"), []byte("p"), 0o644))

	layer, errs := layerOf(t, dir)
	if errs != "" {
		t.Fatal(errs)
	}
	names, headers, data := read(t, layer)
	want := []string{
		".wh.gone", "b", "c", "caf\xe9", strings.Repeat("d", 120) + "/", long, "etc/", "etc/passwd", "fifo", "link", "null",
		"opaque/", "opaque/.wh..wh..opq", "opaque/new",
	}
	// The whiteout stands where the name of what it hides does.
	want = append(append(want[1:9:9], want[0]), want[9:]...)
	if strings.Join(names, "\n") != strings.Join(want, "\n") {
		t.Fatalf("got\n%q\nwant\n%q", names, want)
	}
	b := headers["b"]
	if b.Uid != 3_000_000 || b.Gid != 2_500_000 || b.Mode&0o7777 != 0o4755 || !b.ModTime.Equal(when) {
		t.Errorf("attributes of b: %+v", b)
	}
	if got := b.PAXRecords["SCHILY.xattr.user.a%3Db"]; got != "v\x00w" {
		t.Errorf("xattrs of b: %q", b.PAXRecords)
	}
	if len(data["b"]) != 200_000 || data[long] != "long" || data["opaque/new"] != "n" {
		t.Error("contents differ")
	}
	if c := headers["c"]; c.Typeflag != tar.TypeLink || c.Linkname != "b" {
		t.Errorf("hard link: %+v", c)
	}
	if l := headers["link"]; l.Typeflag != tar.TypeSymlink || l.Linkname != "../../"+strings.Repeat("x", 150) {
		t.Errorf("symlink: %+v", l)
	}
	if n := headers["null"]; n.Typeflag != tar.TypeChar || n.Devmajor != 1 || n.Devminor != 3 {
		t.Errorf("device: %+v", n)
	}
	if o := headers["opaque/"]; len(o.PAXRecords) != 0 && o.PAXRecords["mtime"] == "" {
		t.Errorf("what overlayfs keeps is in the layer: %q", o.PAXRecords)
	}
	again, _ := layerOf(t, dir)
	if !bytes.Equal(layer, again) {
		t.Error("the same tree gave another tar")
	}
}

func TestHolesAreNotWritten(t *testing.T) {
	dir, at := newUpper(t)
	f, err := os.Create(at("sparse"))
	must(t, err)
	_, err = f.WriteAt([]byte("data"), 5<<20)
	must(t, err)
	must(t, f.Truncate(50<<20))
	must(t, f.Close())
	layer, errs := layerOf(t, dir)
	if errs != "" || len(layer) > 1<<20 {
		t.Fatalf("%d bytes, %s", len(layer), errs)
	}
	_, headers, data := read(t, layer)
	if headers["sparse"].Size != 50<<20 || len(data["sparse"]) != 50<<20 || data["sparse"][5<<20:5<<20+5] != "data\x00" {
		t.Error("the file is another one")
	}
}

func TestAFileThatNoLayerCanHoldIsRefused(t *testing.T) {
	dir, at := newUpper(t)
	must(t, os.WriteFile(at("etc/.wh.passwd"), nil, 0o644))
	_, errs := layerOf(t, dir)
	if !strings.Contains(errs, "etc/.wh.passwd") {
		t.Errorf("stderr: %q", errs)
	}
}

func TestAMissingDirectoryIsSaid(t *testing.T) {
	_, errs := layerOf(t, t.TempDir())
	if !strings.Contains(errs, "upper directory") {
		t.Errorf("stderr: %q", errs)
	}
}
