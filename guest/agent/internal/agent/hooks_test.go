package agent

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/wire"
)

// hookedHost is one whose processes stand still, and that has these hooks: names and scripts.
func hookedHost(t *testing.T, each, together time.Duration, scripts map[string]string) (h *host, f *fakeFreezer, folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\ncd "+folder+"\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h, f = newHostWithHooks(t, HookSettings{folder, each, together})
	f.still.Store(true)
	expectOK(t, h.request("freeze", "timeout_ms", uint64(10_000)))
	return h, f, folder
}

// ended tells what became of hooks, as "name=what".
func ended(reply wire.Item) string {
	list := reply.Get("hooks")
	texts := make([]string, 0, list.Len())
	item := list.First()
	for range list.Len() {
		name, _ := item.Get("name").Text()
		what := "nothing"
		if n, ok := item.Get("code").Uint(); ok {
			what = strconv.Itoa(int(n))
		} else if n, ok := item.Get("signal").Uint(); ok {
			what = "signal " + strconv.Itoa(int(n))
		} else if item.Get("timeout").True() {
			what = "late"
		}
		texts = append(texts, name+"="+what)
		item = item.Next()
	}
	return strings.Join(texts, " ")
}

// logs are the messages that came before.
func logsOf(h *host) string {
	var all []string
	for _, f := range h.pending {
		if m := parse(h.t, f); m.Get("op").Is("log") {
			message, _ := m.Get("message").Text()
			all = append(all, message)
		}
	}
	return strings.Join(all, "\n")
}

func TestHooksRunInOrderBeforeProcesses(t *testing.T) {
	h, f, folder := hookedHost(t, 10*time.Second, 30*time.Second, map[string]string{
		"10-first":  "echo first >>order; echo to the log; echo and this >&2; echo $MSB_SANDBOX $MSB_GENERATION $HOME $(pwd) >env; read x; echo $? >stdin",
		"20-second": "echo second >>order; exit 3",
		"3-third":   "echo third >>order; kill -9 $$",
		"plain":     "echo never >>order",
	})
	_ = os.Chmod(filepath.Join(folder, "plain"), 0o644)
	_ = os.Mkdir(filepath.Join(folder, "15-folder"), 0o755)
	_ = os.WriteFile(filepath.Join(folder, "40-nothing"), []byte("no program"), 0o755)
	h.request("restore", "identity", reborn, "generation", uint64(7))
	reply := h.request("thaw", "hooks", true)
	if got := ended(reply); got != "10-first=0 20-second=3 3-third=signal 9 40-nothing=126" {
		t.Error(got)
	}
	if f.told.Load() {
		t.Error("processes still stand still")
	}
	for file, want := range map[string]string{"order": "first\nsecond\nthird\n", "env": "box-2 7 /root " + folder + "\n", "stdin": "1\n"} {
		if b, _ := os.ReadFile(filepath.Join(folder, file)); string(b) != want {
			t.Errorf("%s: %q", file, b)
		}
	}
	logs := logsOf(h)
	for _, want := range []string{"hook 10-first: to the log", "hook 10-first: and this", "hook 20-second ended with code 3",
		"hook 3-third was ended by signal 9", "hook 40-nothing: cannot be started"} {
		if !strings.Contains(logs, want) {
			t.Errorf("%q is not in the log: %s", want, logs)
		}
	}
}

func TestThawWithoutHooks(t *testing.T) {
	h, f, folder := hookedHost(t, time.Second, time.Second, map[string]string{"a": "echo >ran"})
	if got := ended(h.request("thaw", "hooks", false)); got != "" || f.told.Load() {
		t.Error(got)
	}
	// When nothing stands still nothing is done.
	if got := ended(h.request("thaw", "hooks", true)); got != "" {
		t.Error(got)
	}
	if _, err := os.Stat(filepath.Join(folder, "ran")); err == nil {
		t.Error("it ran")
	}
}

func TestHooksThatTakeTooLong(t *testing.T) {
	h, _, folder := hookedHost(t, 200*time.Millisecond, 10*time.Second, map[string]string{
		"a": "sleep 1000 & echo $! >child; sleep 1000",
		"b": "echo >ran",
	})
	if got := ended(h.request("thaw", "hooks", true)); got != "a=late b=0" {
		t.Error(got)
	}
	if _, err := os.Stat(filepath.Join(folder, "ran")); err != nil {
		t.Error("b did not run")
	}
	waitGone(t, filepath.Join(folder, "child"))
}

func TestHooksTogetherTakeTooLong(t *testing.T) {
	h, _, folder := hookedHost(t, 10*time.Second, 200*time.Millisecond, map[string]string{"a": "sleep 1000", "b": "echo >ran"})
	if got := ended(h.request("thaw", "hooks", true)); got != "a=late b=late" {
		t.Error(got)
	}
	if _, err := os.Stat(filepath.Join(folder, "ran")); err == nil {
		t.Error("b ran")
	}
}

// waitGone waits until the process is gone whose number is in a file.
func waitGone(t *testing.T, file string) {
	t.Helper()
	b, _ := os.ReadFile(file)
	pid := strings.TrimSpace(string(b))
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if pid == "" || err != nil || strings.Contains(string(stat), ") Z ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it lives: ", string(stat))
		}
	}
}

// A hook that waits for a fifo, until the test writes to it.
const waits = "echo >waiting; read x <fifo"

func waitingHost(t *testing.T) (h *host, f *fakeFreezer, id uint64, release func()) {
	h, f, folder := hookedHost(t, 20*time.Second, 20*time.Second, map[string]string{"a": waits})
	fifo := filepath.Join(folder, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { letGo(t, fifo) })
	id = h.ask("thaw", "hooks", true)
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(folder, "waiting")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the hook does not run")
		}
	}
	return h, f, id, func() {
		if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// letGo ends a hook that waits still: where there are no control groups it outlives what had started it.
func letGo(t *testing.T, fifo string) {
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		fd, err := syscall.Open(fifo, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return // nobody reads
		}
		_, _ = syscall.Write(fd, []byte("go\n"))
		_ = syscall.Close(fd)
		if time.Now().After(deadline) {
			t.Fatal("the hook does not end")
		}
	}
}

func TestAgentServesWhileHooksRun(t *testing.T) {
	h, f, id, release := waitingHost(t)
	expectOK(t, h.request("ping"))
	expectCode(t, h.request("thaw", "hooks", true), failure.InvalidState)
	expectCode(t, h.request("freeze", "timeout_ms", uint64(1)), failure.InvalidState)
	expectCode(t, h.request("restore", "identity", reborn, "generation", uint64(1)), failure.InvalidState)
	if r := h.run(7, []string{"true"}); r.op != "failed" {
		t.Error(r.op)
	}
	if !f.told.Load() {
		t.Error("processes go on before the hooks have ended")
	}
	release()
	if got := ended(h.reply(id)); got != "a=0" {
		t.Error(got)
	}
}

func TestAnotherHostWaitsForHooks(t *testing.T) {
	h, f, _, release := waitingHost(t)
	if !h.hello(true).Get("frozen").True() {
		t.Error("not frozen")
	}
	id := h.ask("thaw", "hooks", true)
	h.request("ping")
	release()
	if got := ended(h.reply(id)); got != "a=0" || f.told.Load() {
		t.Error(got)
	}
}

func TestThawEndsHooks(t *testing.T) {
	h, f, id, _ := waitingHost(t)
	second := h.ask("thaw", "hooks", false)
	if got := ended(h.reply(id)); got != "" {
		t.Error(got)
	}
	expectOK(t, h.reply(second))
	if f.told.Load() {
		t.Error("processes still stand still")
	}
	if r := h.run(7, []string{"true"}); r.code() != 0 {
		t.Error(r.op)
	}
}

func TestShutdownEndsHooks(t *testing.T) {
	h, _, id, _ := waitingHost(t)
	down := h.ask("shutdown", "grace_ms", uint64(10_000))
	expectCode(t, h.reply(id), failure.InvalidState)
	expectOK(t, h.reply(down))
	waitOff(t, h)
}

// Who writes where a hook did must not die of it.
func TestDaemonOfAHookWritesOn(t *testing.T) {
	h, _, folder := hookedHost(t, 10*time.Second, 10*time.Second, map[string]string{
		"a": "mkfifo fifo; (read x <fifo; echo late words; echo alive >alive) & ",
	})
	if got := ended(h.request("thaw", "hooks", true)); got != "a=0" {
		t.Fatal(got)
	}
	if err := os.WriteFile(filepath.Join(folder, "fifo"), []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(folder, "alive")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it died")
		}
	}
}

func TestNoisyHooks(t *testing.T) {
	h, _, _ := hookedHost(t, 10*time.Second, 10*time.Second, map[string]string{
		"a": "i=0; while [ $i -lt 5000 ]; do echo line $i of many; i=$((i+1)); done",
		"b": "printf 'a\\0b\\377c'; head -c 1000000 /dev/zero",
	})
	if got := ended(h.request("thaw", "hooks", true)); got != "a=0 b=0" {
		t.Error(got)
	}
	if logs := logsOf(h); strings.Count(logs, "hook a: ") != 48 || !strings.Contains(logs, "(no more lines are kept)") {
		t.Error(logs)
	}
}
