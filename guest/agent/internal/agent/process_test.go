package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"microsandbox/agent/internal/wire"
)

func TestExitAndStreams(t *testing.T) {
	h := newHost(t)
	r := h.run(1, []string{"sh", "-c", "echo out; echo err >&2; exit 3"})
	if r.code() != 3 || string(r.out) != "out\n" || string(r.err) != "err\n" {
		t.Fatalf("got %q %q %d", r.out, r.err, r.code())
	}
	r = h.run(2, []string{"sh", "-c", "kill -TERM $$"})
	if n, ok := r.last.Get("signal").Uint(); !ok || n != 15 {
		t.Fatalf("not ended by TERM: %d", n)
	}
	for channel := uint32(3); channel < 60; channel++ {
		if r := h.run(channel, []string{"true"}); r.code() != 0 {
			t.Fatalf("true ended with %d", r.code())
		}
	}
}

func TestFailures(t *testing.T) {
	h := newHost(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "plain")
	script := filepath.Join(dir, "script")
	orphan := filepath.Join(dir, "orphan")
	for path, mode := range map[string]os.FileMode{file: 0o644, script: 0o755, orphan: 0o755} {
		content := "exit 0\n"
		if path == orphan {
			content = "#!/no/such/interpreter\n"
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	path := []string{"PATH=" + dir + ":/bin", "HOME=/"}
	for i, c := range []struct {
		code string
		exit uint64
		argv []string
		more []any
	}{
		{"not_found", 127, []string{"no-such-command"}, nil},
		{"not_found", 127, []string{"/no/such/command"}, nil},
		{"permission_denied", 126, []string{file}, nil},
		{"permission_denied", 126, []string{"plain"}, []any{"env", path}},
		{"permission_denied", 126, []string{"script"}, []any{"env", path}}, // no "#!"
		{"permission_denied", 126, []string{"orphan"}, []any{"env", path}},
		{"permission_denied", 126, []string{dir}, nil},
		{"invalid_argument", 126, []string{"true"}, []any{"cwd", "/no/such/dir"}},
		{"invalid_argument", 126, []string{"true"}, []any{"cwd", file}},
		{"invalid_argument", 126, []string{"true"}, []any{"cwd", "relative"}},
		{"invalid_argument", 126, []string{"true"}, []any{"user", "no-such-user"}},
		{"invalid_argument", 126, []string{"true"}, []any{"user", "root:no-such-group"}},
		{"invalid_argument", 126, []string{}, nil},
		{"invalid_argument", 126, []string{"true", "a\x00b"}, nil},
		{"invalid_argument", 126, []string{"true"}, []any{"rlimits", []any{pairs{"name", "nonsense", "soft", uint64(1), "hard", uint64(1)}}}},
		{"invalid_argument", 126, []string{"true"}, []any{"rlimits", []any{pairs{"name", "nofile", "soft", uint64(2), "hard", uint64(1)}}}},
		{"invalid_argument", 126, []string{"true"}, []any{"pty", pairs{"rows", uint64(0), "cols", uint64(1), "term", "dumb"}}},
		{"invalid_argument", 126, []string{"true"}, []any{"pty", pairs{"rows", uint64(1), "cols", uint64(65536), "term", "dumb"}}},
		{"invalid_argument", 126, []string{"true"}, []any{"pty", "yes"}},
	} {
		r := h.run(uint32(i+1), c.argv, c.more...)
		code, _ := r.last.Get("error").Get("code").Text()
		exit, _ := r.last.Get("exit_code").Uint()
		if r.op != "failed" || code != c.code || exit != c.exit {
			text, _ := r.last.Get("error").Get("message").Text()
			t.Errorf("%v %v: got %s %s %d (%s)", c.argv, c.more, r.op, code, exit, text)
		}
	}
	if r := h.run(100, []string{"true"}); r.code() != 0 {
		t.Fatal("nothing starts any more")
	}
}

func TestLimitsHoldFromTheStart(t *testing.T) {
	h := newHost(t)
	limits := []any{
		pairs{"name", "nofile", "soft", uint64(50), "hard", uint64(60)},
		pairs{"name", "core", "soft", uint64(0), "hard", uint64(1<<64 - 1)},
	}
	r := h.run(1, []string{"sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -Hc"}, "rlimits", limits)
	if string(r.out) != "50\n60\nunlimited\n" || r.code() != 0 {
		t.Fatalf("got %q, %d, %s", r.out, r.code(), r.err)
	}
	// The next one, and the agent itself, have their own.
	if r = h.run(2, []string{"sh", "-c", "ulimit -Hn"}); string(r.out) == "60\n" {
		t.Fatal("a limit leaked")
	}
}

func TestStdin(t *testing.T) {
	h := newHost(t)
	want := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16) // 1 MiB
	b := startMessage(nil, 1, []string{"sh", "-c", "sleep 0.1; cat"}, "stdin", true)
	b = wire.AppendCredit(b, 1, wire.Stdout, 0, 16<<20)
	h.send(wire.AppendCredit(b, 1, wire.Stderr, 0, 16<<20))
	sent, ended := 0, false
	var got []byte
	for !ended || len(got) < len(want) {
		f := h.next()
		switch {
		case f.Type == wire.Credit:
			acked, limit := wire.ParseCredit(f.Payload)
			if acked > uint64(sent) || limit-acked > 256<<10 {
				t.Fatalf("credit %d to %d after %d bytes", acked, limit, sent)
			}
			for sent < len(want) && uint64(sent) < limit {
				piece := want[sent:min(uint64(len(want)), limit, uint64(sent+65536))]
				b := append(wire.BeginFrame(nil, 1, wire.Data, wire.Stdin), piece...)
				h.send(wire.EndFrame(b, 0))
				sent += len(piece)
			}
			if sent == len(want) && !ended {
				ended = true
				h.send(wire.EndFrame(wire.BeginFrame(nil, 1, wire.Data, wire.Stdin), 0))
			}
		case f.Type == wire.Data && f.Stream == wire.Stdout && len(f.Payload) > 0:
			got = append(got, f.Payload...)
		default:
			h.pending = append(h.pending, f)
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatal("stdin and stdout differ")
	}
	if r := h.wait(1); r.code() != 0 {
		t.Fatalf("cat ended with %d", r.code())
	}
}

func TestSignals(t *testing.T) {
	h := newHost(t)
	h.send(startMessage(nil, 1, []string{"sh", "-c", "trap 'echo got; exit 9' USR1; echo ready; while :; do sleep 0.01; done"}))
	h.send(wire.AppendCredit(nil, 1, wire.Stdout, 0, 1000))
	for {
		if f := h.next(); f.Type == wire.Data && f.Stream == wire.Stdout {
			break
		}
	}
	h.send(message(nil, 99, "signal", "signal", uint64(9), "group", true)) // no such channel
	h.send(message(nil, 1, "signal", "signal", uint64(syscall.SIGUSR1), "group", false))
	if r := h.wait(1); string(r.out) != "got\n" || r.code() != 9 {
		t.Fatalf("got %q, %d", r.out, r.code())
	}
	// To the group: the shell's child too.
	h.send(startMessage(nil, 2, []string{"sh", "-c", "sleep 1000 & echo $!; wait"}))
	h.send(wire.AppendCredit(nil, 2, wire.Stdout, 0, 1000))
	var pid int
	for pid == 0 {
		if f := h.next(); f.Type == wire.Data && f.Stream == wire.Stdout {
			fmt.Sscan(string(f.Payload), &pid)
		}
	}
	h.send(message(nil, 2, "signal", "signal", uint64(9), "group", true))
	h.wait(2)
	gone(t, pid)
}

// gone waits until a process has ended; as an orphan of a test it may stay a zombie for the machine's own PID 1.
func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d still runs: %s", pid, b)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestDescendantHoldsThePipe(t *testing.T) {
	h := newHost(t)
	mark := filepath.Join(t.TempDir(), "alive")
	begin := time.Now()
	r := h.run(1, []string{"sh", "-c", "(sleep 1.2; echo late && echo yes > " + mark + ") & echo early"})
	if took := time.Since(begin); took < 400*time.Millisecond || took > 1100*time.Millisecond {
		t.Errorf("the exit came after %v", took)
	}
	if string(r.out) != "early\n" || r.code() != 0 {
		t.Fatalf("got %q, %d", r.out, r.code())
	}
	h.send(message(nil, 1, "close"))
	// What it writes later goes nowhere, and does not kill it.
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if b, err := os.ReadFile(mark); err == nil && string(b) == "yes\n" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the descendant died of its output")
		}
	}
}

func TestDescendantsOutputBeforeSilence(t *testing.T) {
	h := newHost(t)
	r := h.run(1, []string{"sh", "-c", "(for i in 1 2 3 4; do sleep 0.25; echo $i; done) & exit 4"})
	if string(r.out) != "1\n2\n3\n4\n" || r.code() != 4 {
		t.Fatalf("got %q, %d", r.out, r.code())
	}
}

func TestCloseKills(t *testing.T) {
	h := newHost(t)
	h.send(startMessage(nil, 1, []string{"sh", "-c", "sleep 1000 & echo $!; wait"}))
	h.send(wire.AppendCredit(nil, 1, wire.Stdout, 0, 1000))
	var pid int
	for pid == 0 {
		if f := h.next(); f.Type == wire.Data && f.Stream == wire.Stdout {
			fmt.Sscan(string(f.Payload), &pid)
		}
	}
	h.send(message(nil, 1, "close"))
	gone(t, pid)
	if n, _ := h.request("ping").Get("processes").Uint(); n != 0 {
		t.Fatalf("%d processes", n)
	}
	for _, f := range h.pending {
		if f.Channel == 1 && f.Type == wire.Control {
			t.Fatal("an exit message followed")
		}
	}
}

func TestEnvironmentAndDirectory(t *testing.T) {
	h := newHost(t)
	dir := filepath.Join(t.TempDir(), "a/b/c")
	r := h.run(1, []string{"sh", "-c", "pwd; echo $X; echo $HOME"}, "cwd", dir, "create_cwd", true,
		"env", []string{"PATH=/bin:/usr/bin", "X=1", "X=2"}, "user", "root")
	if string(r.out) != dir+"\n2\n/root\n" {
		t.Fatalf("got %q %q", r.out, r.err)
	}
	r = h.run(2, []string{"sh", "-c", "grep -E '^(SigIgn|SigBlk)' /proc/self/status; ls -l /proc/self/fd | wc -l"})
	if !strings.Contains(string(r.out), "SigBlk:\t0000000000000000") {
		t.Fatalf("got %q", r.out)
	}
	if os.Getuid() == 0 {
		r = h.run(3, []string{"id", "-u", "-n"}, "user", "nobody")
		if string(r.out) != "nobody\n" {
			t.Fatalf("got %q", r.out)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	h := newHost(t)
	const n = 100
	var b []byte
	for channel := uint32(1); channel <= n; channel++ {
		b = startMessage(b, channel, []string{"sh", "-c", fmt.Sprintf("echo %d; exit %d", channel, channel)})
		b = wire.AppendCredit(b, channel, wire.Stdout, 0, 1<<20)
		b = wire.AppendCredit(b, channel, wire.Stderr, 0, 1<<20)
	}
	go h.send(b)
	out, ended := map[uint32]string{}, 0
	for ended < n {
		f := h.next()
		if f.Type == wire.Data {
			out[f.Channel] += string(f.Payload)
		} else if m := parse(t, f); m.Get("op").Is("exit") {
			ended++
			if code, _ := m.Get("code").Uint(); code != uint64(f.Channel) || out[f.Channel] != fmt.Sprintf("%d\n", code) {
				t.Fatalf("channel %d: %d %q", f.Channel, code, out[f.Channel])
			}
		} else if !m.Get("op").Is("started") {
			t.Fatalf("channel %d did not start", f.Channel)
		}
	}
}

// The output fills the buffer to the last byte and the host acknowledges nothing of it: the end must come all the same.
func TestEndBehindAFullBuffer(t *testing.T) {
	h := newHost(t)
	for channel, command := range []string{
		"head -c 1048576 /dev/zero",
		"head -c 1048576 /dev/zero; sleep 0.2; exit 0",
		"sleep 5 & head -c 1048576 /dev/zero", // and held by a silent descendant
	} {
		if r := h.run(uint32(channel+1), []string{"sh", "-c", command}); r.code() != 0 || len(r.out) != 1<<20 {
			t.Fatalf("%s: got %d bytes, %d", command, len(r.out), r.code())
		}
	}
}
