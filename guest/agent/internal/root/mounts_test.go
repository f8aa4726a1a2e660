package root

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMountPoint(t *testing.T) {
	dir := t.TempDir()
	at := func(path string) string { return filepath.Join(dir, path) }
	if err := os.WriteFile(at("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.Mkdir(at("real"), 0o700)
	_ = os.Symlink("real", at("link"))
	_ = os.Symlink("nowhere", at("dangling"))
	for _, path := range []string{"a/b/c", "a/b", "real/x", "link/y"} {
		if fail := MountPoint(at(path)); fail != nil {
			t.Errorf("%s: %s", path, fail.Message)
		}
		if st, err := os.Stat(at(path)); err != nil || !st.IsDir() {
			t.Errorf("%s is no folder", path)
		}
	}
	if _, err := os.Stat(at("real/y")); err != nil {
		t.Error("a link to a folder was not followed")
	}
	for _, path := range []string{"file", "file/x", "dangling", "dangling/x"} {
		if fail := MountPoint(at(path)); fail == nil || fail.Code != "invalid_argument" {
			t.Errorf("%s was taken: %v", path, fail)
		}
	}
}
