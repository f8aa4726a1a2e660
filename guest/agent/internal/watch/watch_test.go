package watch

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/wire"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// watched is a watcher whose messages are read as the host does.
type watched struct {
	*watcher
	t        *testing.T
	messages [][]byte
	sawReady bool
	changes  []change
}

func begin(t *testing.T, to target, max int) *watched {
	t.Helper()
	one := &watched{t: t}
	w, err := open(to, max, one.take)
	must(t, err)
	one.watcher = w
	t.Cleanup(w.close)
	if !one.sawReady {
		t.Fatal("no ready message")
	}
	return one
}

func (o *watched) take(message []byte) {
	var document wire.Document
	m, err := document.Parse(message)
	must(o.t, err)
	if m.Get("op").Is("ready") {
		o.sawReady = true
		return
	}
	list := m.Get("changes")
	for i, item := 0, list.First(); i < list.Len(); i, item = i+1, item.Next() {
		kind, _ := item.Get("type").Text()
		path, _ := item.Get("path").Bytes()
		from, _ := item.Get("from").Bytes()
		o.changes = append(o.changes, change{kind, string(path), string(from), item.Get("folder").True()})
	}
}

// settle makes a file and waits until that is told of: then all before it is.
func (o *watched) settle() []string {
	o.t.Helper()
	mark := "mark" + strconv.Itoa(len(o.changes))
	must(o.t, os.WriteFile(filepath.Join(o.folder, mark), nil, 0o644))
	deadline := time.Now().Add(20 * time.Second)
	for {
		var lines []string
		for _, c := range o.changes {
			if c.path == mark {
				o.changes = nil
				must(o.t, os.Remove(filepath.Join(o.folder, mark)))
				o.waitFor(func() bool { return len(o.changes) > 0 && o.changes[len(o.changes)-1].path == mark })
				o.changes = nil
				return lines
			}
			line := c.kind + " " + c.path
			if c.from != "" {
				line += " < " + c.from
			}
			if c.folder {
				line += "/"
			}
			lines = append(lines, line)
		}
		if time.Now().After(deadline) {
			o.t.Fatal("the mark was not told of", lines)
		}
		must(o.t, o.step(1000))
	}
}

func (o *watched) waitFor(done func() bool) {
	o.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(deadline) {
			o.t.Fatal("waited in vain", o.changes)
		}
		must(o.t, o.step(1000))
	}
}

func (o *watched) expect(want ...string) {
	o.t.Helper()
	if got := strings.Join(o.settle(), "\n"); got != strings.Join(want, "\n") {
		o.t.Errorf("told\n%s\nnot\n%s", got, strings.Join(want, "\n"))
	}
}

func (o *watched) at(path string) string { return filepath.Join(o.folder, path) }

func TestWhatIsTold(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "old/deep"), 0o755))
	outside := t.TempDir()
	o := begin(t, target{folder: dir, recursive: true}, maxWatches)
	must(t, os.WriteFile(o.at("old/deep/a\xff"), []byte("x"), 0o644))
	o.expect("created old/deep/a\xff", "modified old/deep/a\xff")
	must(t, os.Chmod(o.at("old/deep/a\xff"), 0o600))
	must(t, os.Chmod(o.at("old"), 0o700))
	o.expect("attributes old/deep/a\xff", "attributes old/")
	must(t, os.Rename(o.at("old/deep/a\xff"), o.at("b")))
	o.expect("moved b < old/deep/a\xff")
	must(t, os.Rename(o.at("old"), o.at("new")))
	must(t, os.WriteFile(o.at("new/deep/c"), nil, 0o644))
	o.expect("moved new < old/", "created new/deep/c")
	must(t, os.Rename(o.at("new"), filepath.Join(outside, "new")))
	must(t, os.WriteFile(filepath.Join(outside, "new/deep/unseen"), nil, 0o644))
	o.expect("removed new/")
	if len(o.byWd) != 1 {
		t.Errorf("%d folders are watched, not 1", len(o.byWd))
	}
	must(t, os.Rename(filepath.Join(outside, "new"), o.at("again")))
	again := o.settle()
	sort.Strings(again[2:]) // a folder has its own order
	if strings.Join(again, "\n") != "moved again/\ncreated again/deep/\ncreated again/deep/c\ncreated again/deep/unseen" {
		t.Error(again)
	}
	must(t, os.RemoveAll(o.at("again")))
	got := o.settle()
	sort.Strings(got)
	if strings.Join(got, "\n") != "removed again/\nremoved again/deep/\nremoved again/deep/c\nremoved again/deep/unseen" {
		t.Error(got)
	}
}

func TestFoldersThatChangePlaces(t *testing.T) {
	o := begin(t, target{folder: t.TempDir(), recursive: true}, maxWatches)
	must(t, os.MkdirAll(o.at("a"), 0o755))
	must(t, os.MkdirAll(o.at("b"), 0o755))
	o.settle()
	if err := exchange(o.at("a"), o.at("b")); err != nil {
		t.Skip("no RENAME_EXCHANGE here: ", err)
	}
	o.settle()
	must(t, os.WriteFile(o.at("a/x"), nil, 0o644))
	must(t, os.WriteFile(o.at("b/y"), nil, 0o644))
	o.expect("created a/x", "created b/y")
	// Each of these is told when the next has happened already.
	must(t, os.Rename(o.at("a"), o.at("c")))
	must(t, os.Mkdir(o.at("a"), 0o755))
	must(t, os.Rename(o.at("a"), o.at("c/a")))
	must(t, os.Mkdir(o.at("a"), 0o755))
	o.settle()
	for _, path := range []string{"a/1", "b/2", "c/3", "c/a/4"} {
		must(t, os.WriteFile(o.at(path), nil, 0o644))
	}
	o.expect("created a/1", "created b/2", "created c/3", "created c/a/4")
}

// The folders are made while the watcher runs; what it tells must add up to what is there.
func TestNothingIsLostInNewFolders(t *testing.T) {
	o := begin(t, target{folder: t.TempDir(), recursive: true}, maxWatches)
	made := make(chan error, 1)
	go func() {
		for i := range 300 {
			path := o.at(strconv.Itoa(i) + "/x/y/z")
			if err := os.MkdirAll(path, 0o755); err != nil {
				made <- err
				return
			}
			for _, name := range []string{"1", "2", "../3", "../../../4"} {
				if err := os.WriteFile(filepath.Join(path, name), nil, 0o644); err != nil {
					made <- err
					return
				}
			}
		}
		made <- nil
	}()
	seen := make(map[string]int)
	count := 0
	o.waitFor(func() bool {
		for ; count < len(o.changes); count++ {
			if c := o.changes[count]; c.kind == created {
				seen[c.path]++
			} else if c.kind == overflow {
				t.Fatal("an overflow")
			}
		}
		return len(seen) >= 300*8
	})
	must(t, <-made)
	for path, times := range seen {
		if times != 1 {
			t.Errorf("%s was told of %d times", path, times)
		}
	}
}

func TestFlatExcludedAndOneFile(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "sub/node_modules"), 0o755))
	flat := begin(t, target{folder: dir}, maxWatches)
	some := begin(t, target{folder: dir, recursive: true, excludes: []string{"node_modules", "sub/*.tmp"}}, maxWatches)
	one := begin(t, target{folder: dir, only: "conf"}, maxWatches)
	must(t, os.WriteFile(filepath.Join(dir, "sub/a"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "sub/b.tmp"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "sub/node_modules/c"), nil, 0o644))
	must(t, os.Rename(filepath.Join(dir, "sub/b.tmp"), filepath.Join(dir, "conf")))
	must(t, os.Rename(filepath.Join(dir, "sub/a"), filepath.Join(dir, "sub/node_modules/a")))
	flat.expect("moved conf")
	some.waitFor(func() bool { return strings.Contains(lines(some.changes), "removed sub/a") })
	if got := lines(some.changes); !strings.Contains(got, "created sub/a\nmoved conf\nremoved sub/a") || strings.Contains(got, "node_modules") {
		t.Error(got)
	}
	must(t, os.WriteFile(filepath.Join(dir, "conf"), []byte("x"), 0o644))
	must(t, os.Remove(filepath.Join(dir, "conf")))
	one.waitFor(func() bool { return strings.Contains(lines(one.changes), "removed") })
	if got := lines(one.changes); got != "moved \nmodified \nremoved " {
		t.Errorf("%q", got)
	}
}

func lines(changes []change) string {
	var all []string
	for _, c := range changes {
		all = append(all, c.kind+" "+c.path)
	}
	return strings.Join(all, "\n")
}

func TestTheEnd(t *testing.T) {
	for name, end := range map[string]func(dir string) error{
		"removed": os.Remove,
		"moved":   func(dir string) error { return os.Rename(dir, dir+"2") },
		"above":   func(dir string) error { return os.Rename(filepath.Dir(dir), filepath.Dir(dir)+"2") },
	} {
		dir := filepath.Join(t.TempDir(), "in/dir")
		must(t, os.MkdirAll(dir, 0o755))
		o := begin(t, target{folder: dir, recursive: true}, maxWatches)
		must(t, end(dir))
		if name == "above" {
			// What lies above is not watched: the next folder shows it.
			must(t, os.Mkdir(filepath.Join(filepath.Dir(filepath.Dir(dir)), "in2/dir/new"), 0o755))
		}
		o.waitFor(func() bool { return o.ended })
		if last := o.batch; last.count != 0 {
			t.Error(name, "something was kept back")
		}
		if got := o.changes[len(o.changes)-1]; got != (change{kind: removed, folder: true}) {
			t.Error(name, got)
		}
	}
}

// The kernel keeps so many events (fs.inotify.max_queued_events); who reads none of them is told so, and goes on from what is there.
func TestOverflow(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	if most > 100_000 {
		t.Skip("this kernel keeps too many events to fill its queue")
	}
	o := begin(t, target{folder: t.TempDir(), recursive: true}, maxWatches)
	for i := range most/2 + 2 {
		path := o.at(strconv.Itoa(i % 2))
		must(t, os.WriteFile(path, nil, 0o644))
		must(t, os.Remove(path))
	}
	must(t, os.MkdirAll(o.at("late/folder"), 0o755))
	o.waitFor(func() bool { return len(o.changes) > 0 && o.changes[len(o.changes)-1].kind == overflow })
	must(t, os.WriteFile(o.at("late/folder/file"), nil, 0o644))
	o.expect(append(told(o), "created late/folder/file")...)
}

func told(o *watched) []string {
	var all []string
	for _, c := range o.changes {
		all = append(all, c.kind+" "+c.path)
	}
	return all
}

func TestBounds(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	to := target{folder: dir, recursive: true}
	if _, err := open(to, 2, func([]byte) {}); code(err) != failure.ResourceExhausted || !strings.Contains(err.Error(), "more than 2 folders") {
		t.Error(err)
	}
	o := begin(t, to, 3)
	must(t, os.Mkdir(o.at("c"), 0o755))
	if err := o.step(5000); code(err) != failure.ResourceExhausted {
		t.Error(err)
	}
	// A path that no call takes is not watched, and said to be missing.
	deep := begin(t, target{folder: t.TempDir(), recursive: true}, maxWatches)
	name := strings.Repeat("n", 250)
	fd, err := syscall.Open(deep.folder, syscall.O_DIRECTORY, 0)
	must(t, err)
	for range 20 {
		must(t, syscall.Mkdirat(fd, name, 0o755))
		below, err := syscall.Openat(fd, name, syscall.O_DIRECTORY, 0)
		must(t, err)
		syscall.Close(fd)
		fd = below
	}
	syscall.Close(fd)
	if got := strings.Join(deep.settle(), "\n"); !strings.Contains(got, "overflow") || strings.Count(got, "created") < 14 {
		t.Error(got)
	}
}

func code(err error) string {
	if fail, ok := err.(*failure.Failure); ok {
		return fail.Code
	}
	return ""
}

func TestArguments(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	must(t, os.Symlink("file", filepath.Join(dir, "link")))
	path := func(p string) string { return hex.EncodeToString([]byte(p)) }
	to, err := parse([]string{path(dir + "/link"), "recursive", path("*.o")})
	if err != nil || to.only != "file" || to.recursive || len(to.excludes) != 1 {
		t.Error(to, err)
	}
	for want, args := range map[string][]string{
		failure.NotFound:        {path(dir + "/no"), "flat"},
		failure.Unsupported:     {path("/proc"), "flat"},
		failure.InvalidArgument: {path(dir), "deep"},
	} {
		if _, err := parse(args); code(err) != want {
			t.Error(args, err)
		}
	}
	for _, args := range [][]string{{}, {path("rel"), "flat"}, {path(dir), "flat", ""}, {path(dir), "flat", "0"}, append([]string{path(dir), "flat"}, make([]string, 33)...)} {
		if _, err := parse(args); code(err) != failure.InvalidArgument {
			t.Error(args, err)
		}
	}
}
