package agent

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"microsandbox/agent/internal/builtin"
	"microsandbox/agent/internal/hooks"
)

// TestMain lets the test's own executable be the program that the agent's is in a VM.
func TestMain(m *testing.M) {
	if code, is := hooks.Run(os.Args); is {
		os.Exit(code)
	}
	if code, is := builtin.Run(os.Args); is {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// hostWithUpper is a host whose guest has an upper directory with these files, set up.
func hostWithUpper(t *testing.T, files map[string]string) *host {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("chroot needs root")
	}
	h := newSilentHost(t)
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, "upper", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	h.vm.upper = int(d.Fd())
	h.hello(false)
	h.setup()
	return h
}

func TestChangesAreReadBack(t *testing.T) {
	h := hostWithUpper(t, map[string]string{"a/b": strings.Repeat("x", 500_000)})
	r := h.run(1, []string{"changes"}, "builtin", "changes")
	if r.code() != 0 || len(r.err) != 0 {
		t.Fatalf("%d: %s", r.code(), r.err)
	}
	reader := tar.NewReader(bytes.NewReader(r.out))
	for _, want := range []string{"a/", "a/b"} {
		if header, err := reader.Next(); err != nil || header.Name != want {
			t.Fatalf("%v, %v instead of %s", header, err, want)
		}
	}
}

func TestThereMustBeSomethingToReadBack(t *testing.T) {
	h := newHost(t)
	h.run(1, []string{"true"})
	for channel, builtin := range map[uint32]string{2: "changes", 3: "other"} {
		r := h.run(channel, []string{"changes"}, "builtin", builtin)
		if code, _ := r.last.Get("error").Get("code").Text(); code != "invalid_state" && code != "unsupported" {
			t.Errorf("%s: %q", builtin, code)
		}
	}
}

func TestABuiltinDoesNotOutliveItsConnection(t *testing.T) {
	h := hostWithUpper(t, map[string]string{"big": strings.Repeat("x", 8<<20)})
	// Without credit it cannot end.
	h.send(startMessage(nil, 1, []string{"changes"}, "builtin", "changes"))
	for h.next().Channel != 1 {
	}
	if n := h.hello(true).Get("processes").Len(); n != 0 {
		t.Errorf("%d processes are still listed", n)
	}
}
