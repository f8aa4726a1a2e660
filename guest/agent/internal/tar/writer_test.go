package tar

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFileThatShrinksIsFilledUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(path, []byte("short"), 0o644))
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	out, err := os.Create(path + ".tar")
	must(t, err)
	defer out.Close()
	w := NewWriter(int(out.Fd()))
	e := Entry{Kind: TypeFile, Path: "f", Size: 1000}
	must(t, w.Header(&e))
	must(t, w.Contents(int(f.Fd()), &e))
	must(t, w.Close())
	layer, err := os.ReadFile(path + ".tar")
	must(t, err)
	r := tar.NewReader(bytes.NewReader(layer))
	_, err = r.Next()
	must(t, err)
	data, err := io.ReadAll(r)
	must(t, err)
	if string(data) != "short"+strings.Repeat("\x00", 995) {
		t.Errorf("%q", data)
	}
}

func TestTimes(t *testing.T) {
	for want, at := range map[string][2]int64{
		"5": {5, 0}, "-5": {-5, 0}, "5.25": {5, 250_000_000}, "-4.75": {-5, 250_000_000}, "-0.5": {-1, 500_000_000}, "0.000000001": {0, 1},
	} {
		if got := decimal(at[0], at[1]); got != want {
			t.Errorf("%v: %s, not %s", at, got, want)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
