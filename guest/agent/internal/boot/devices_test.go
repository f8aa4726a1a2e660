package boot

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// sysfs makes a tree of attributes.
func sysfs(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindDisks(t *testing.T) {
	disks, err := findDisks(sysfs(t, map[string]string{"vda/serial": "upper", "vdb/serial": "root\n", "vdc/serial": "", "sda/serial": "root"}))
	if err != nil || len(disks) != 2 || disks["root"] != "/dev/vdb" || disks["upper"] != "/dev/vda" {
		t.Fatal(disks, err)
	}
	if _, err := findDisks(sysfs(t, map[string]string{"vda/serial": "root", "vdb/serial": "root"})); err == nil {
		t.Fatal("two disks of one role")
	}
}

func TestFindPortWaits(t *testing.T) {
	dir := sysfs(t, map[string]string{"vport0p1/name": "other\n"})
	if port, err := findPort(dir, "agent", 5*time.Millisecond); err == nil {
		t.Fatal("found " + port)
	}
	go func() {
		time.Sleep(10 * time.Millisecond)
		_ = os.Mkdir(filepath.Join(dir, "vport0p2"), 0o755)
		_ = os.WriteFile(filepath.Join(dir, "vport0p2/name"), []byte("agent\n"), 0o644)
	}()
	if port, err := findPort(dir, "agent", 10*time.Second); err != nil || port != "/dev/vport0p2" {
		t.Fatal(port, err)
	}
}
