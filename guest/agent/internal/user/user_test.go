package user

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

var sample = Files{
	Passwd: "root:x:0:0:root:/root:/bin/sh\nbad line\n:x:5:5:::\nbig:x:4294967295:1::/:\nneg:x:-1:1::/:\nshort:x:7\n" +
		"ada:x:1000:1001:Ada:/home/ada:/bin/sh\nada:x:9:9::/twice:\nrel:x:8:8::home/rel:\n42:x:43:43::/fortythree:\nlast:x:12:12::/last:",
	Group: "root:x:0:\nwheel:x:10:ada,root\nnonsense\naudio:x:29:x,ada\nown:x:1001:ada\nevil:x:abc:ada\ndocker:x:999:adam",
}

func TestFind(t *testing.T) {
	for spec, want := range map[string]Identity{
		"":          {0, 0, nil, "/root"},
		"root":      {0, 0, []uint32{0, 10}, "/root"},
		"ada":       {1000, 1001, []uint32{1001, 10, 29}, "/home/ada"},
		"1000":      {1000, 1001, []uint32{1001, 10, 29}, "/home/ada"},
		"ada:wheel": {1000, 10, nil, "/home/ada"},
		"ada:77":    {1000, 77, nil, "/home/ada"},
		"5000":      {5000, 0, nil, "/"},
		"5000:29":   {5000, 29, nil, "/"},
		"rel":       {8, 8, []uint32{8}, "/"},
		"42":        {42, 0, nil, "/"}, // a number is a uid, whatever passwd calls a user
		"last":      {12, 12, []uint32{12}, "/last"},
	} {
		got, fail := sample.Find(spec)
		if fail != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v (%v), want %v", spec, got, fail, want)
		}
	}
	for _, spec := range []string{"nobody", "ada:nogroup", ":wheel", "ada:", "big", "neg", "short", "4294967295", "-1", "ada:4294967295"} {
		if got, fail := sample.Find(spec); fail == nil || fail.ExitCode != 126 {
			t.Errorf("%q: got %v (%v)", spec, got, fail)
		}
	}
	if id, fail := (Files{}).Find(""); fail != nil || id.Home != "/root" {
		t.Error("an image without passwd has no root")
	}
}

func TestLoadHostileFiles(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "passwd"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "group"), []byte(strings.Repeat("x", 3<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := Load(dir); f.Passwd != "" || len(f.Group) != maxFile {
		t.Fatalf("read %d and %d bytes", len(f.Passwd), len(f.Group))
	}
	if f := Load("/proc/self"); f != (Files{}) {
		t.Fatal("files that are not there")
	}
}

func FuzzPasswd(f *testing.F) {
	f.Add(sample.Passwd, sample.Group, "ada")
	f.Add("a:b:c", "::::", "0:0")
	f.Add("\x00\n:::::::", "a:x:1:,,,,a", "a")
	f.Fuzz(func(t *testing.T, passwd, group, spec string) {
		id, fail := Files{passwd, group}.Find(spec)
		if (fail == nil) && (id.UID < 0 || id.UID >= 1<<32-1 || id.GID < 0 || id.GID >= 1<<32-1 ||
			!strings.HasPrefix(id.Home, "/") || strings.ContainsAny(id.Home, "\x00\n:") || len(id.Groups) > maxGroups) {
			t.Fatalf("%q gave %v", spec, id)
		}
	})
}
