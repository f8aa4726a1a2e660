package agent

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/network"
	"microsandbox/agent/internal/root"
	"microsandbox/agent/internal/wire"
)

// socketPort is a port over a socketpair. Unlike a socket, and like the virtio console, it survives its host: absent
// makes it look as if none were connected.
type socketPort struct {
	fd     int
	absent atomic.Bool
}

func (p *socketPort) Descriptor() int { return p.fd }

func (p *socketPort) Read(b []byte) (int, error) {
	if p.absent.Load() {
		return 0, nil
	}
	return syscall.Read(p.fd, b)
}

func (p *socketPort) Write(b []byte) (int, error) {
	if p.absent.Load() {
		return 0, nil
	}
	return syscall.Write(p.fd, b)
}

// fakeVM stands for the machine: the agent's children are ordinary processes.
type fakeVM struct {
	off    atomic.Bool
	setup  *failure.Failure
	upper  int
	mounts []root.Mount
	clock  uint64
	// What it was told of the network, by prepare and by setup.
	prepared, network *network.Config
	restored          []Restore
	restore           *failure.Failure
}

func (v *fakeVM) Setup(s Setup, mark func(string)) *failure.Failure {
	v.network = s.Network
	mark("nothing")
	return v.setup
}
func (v *fakeVM) Prepare(n *network.Config) *failure.Failure {
	v.prepared = n
	return nil
}
func (v *fakeVM) Restore(r Restore, mark func(string)) *failure.Failure {
	r.Entropy = append([]byte(nil), r.Entropy...)
	v.restored = append(v.restored, r)
	mark("nothing")
	return v.restore
}
func (v *fakeVM) SetClock(ns uint64) *failure.Failure {
	v.clock = ns
	return nil
}
func (v *fakeVM) Upper() int { return v.upper }
func (v *fakeVM) Volumes() (volumes []root.Volume) {
	for _, m := range v.mounts {
		if m.Disk != "" && !m.ReadOnly {
			volumes = append(volumes, root.Volume{Disk: m.Disk, Dir: v.upper})
		}
	}
	return volumes
}
func (v *fakeVM) Mount(m root.Mount) *failure.Failure {
	v.mounts = append(v.mounts, m)
	return nil
}
func (v *fakeVM) PowerOff()          { v.off.Store(true) }
func (v *fakeVM) Log(string, string) {}

// SignalAll reaches this process's descendants; PID 1 would reach everyone.
func (v *fakeVM) SignalAll(signal syscall.Signal) { signalChildren(os.Getpid(), signal) }

func signalChildren(pid int, signal syscall.Signal) {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		for _, field := range strings.Fields(string(b)) {
			child, _ := strconv.Atoi(field)
			signalChildren(child, signal)
			_ = syscall.Kill(child, signal)
		}
	}
}

// host is the other end, written for the tests: it may do what a proper one would not.
type host struct {
	t        *testing.T
	fd       int
	port     *socketPort
	vm       *fakeVM
	receiver *hostReceiver
	id       uint64
	pending  []wire.Frame // read while something else was awaited
	done     chan error
}

const patience = 20 * time.Second

// newHost starts an agent and says hello.
func newHost(t *testing.T) *host {
	h := newSilentHost(t)
	h.hello(false)
	h.setup()
	return h
}

func newSilentHost(t *testing.T) *host { return newHostWith(t, Settings{}) }

// newHostWith starts an agent with a freezer and hooks of the test's own, if it has any.
func newHostWith(t *testing.T, s Settings) *host {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.SetNonblock(fds[1], true)
	_ = syscall.SetsockoptTimeval(fds[0], syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: int64(patience / time.Second)})
	h := &host{t: t, fd: fds[0], port: &socketPort{fd: fds[1]}, vm: &fakeVM{upper: -1}, done: make(chan error, 1)}
	s.Port, s.VM, s.Boot, s.Budget, s.Warm = h.port, h.vm, "boot", 64<<20, 4
	a, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	go func() { h.done <- a.Run() }()
	t.Cleanup(func() {
		if !h.vm.off.Load() {
			h.port.absent.Store(false)
			h.hello(true)
			h.request("shutdown", "grace_ms", uint64(0))
		}
		if err := <-h.done; err != nil {
			t.Error(err)
		}
		_ = syscall.Close(fds[0])
		_ = syscall.Close(fds[1])
	})
	return h
}

// hostReceiver reads what the agent sends.
type hostReceiver struct{ *wire.Receiver }

func (h *host) send(b []byte) {
	h.t.Helper()
	for len(b) > 0 {
		n, err := syscall.Write(h.fd, b)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			h.t.Fatal("write to the agent: ", err)
		}
		b = b[n:]
	}
}

var nonces atomic.Uint64

// greeting is what a host sends first.
func greeting(filler bool) (b []byte, nonce string) {
	nonce = fmt.Sprintf("nonce %010d", nonces.Add(1))
	if filler {
		b = make([]byte, wire.MaxPayload+wire.Overhead)
	}
	b = append(append(b, wire.Magic...), nonce...)
	return message(b, 0, "hello", "version", uint64(1), "host", "test"), nonce
}

// hello connects anew and returns the agent's hello.
func (h *host) hello(filler bool) wire.Item {
	h.t.Helper()
	b, nonce := greeting(filler)
	h.send(b)
	return h.awaitHello(nonce)
}

func (h *host) awaitHello(nonce string) wire.Item {
	h.t.Helper()
	h.pending = nil
	for {
		h.receiver = &hostReceiver{wire.NewReceiver(func(wire.Frame) bool { return true })}
		for {
			f, event := h.receiver.Next()
			if event == wire.Hello && string(h.receiver.Nonce()) == nonce {
				return parse(h.t, f)
			}
			if event == wire.Nothing {
				h.fill()
			}
		}
	}
}

func (h *host) fill() {
	h.t.Helper()
	n, err := readFD(h.fd, h.receiver.Space())
	if err != nil || n == 0 {
		h.t.Fatalf("waited for the agent: %d %v", n, err)
	}
	h.receiver.Filled(n)
}

func parse(t *testing.T, f wire.Frame) wire.Item {
	t.Helper()
	m, err := new(wire.Document).Parse(append([]byte(nil), f.Payload...))
	if err != nil {
		t.Fatalf("the agent sent no CBOR: %x", f.Payload)
	}
	return m
}

func readFD(fd int, b []byte) (int, error) {
	for {
		if n, err := syscall.Read(fd, b); err != syscall.EINTR {
			return n, err
		}
	}
}

// next returns the next frame whose payload stays valid.
func (h *host) next() wire.Frame {
	h.t.Helper()
	for {
		f, event := h.receiver.Next()
		switch event {
		case wire.Message:
			f.Payload = append([]byte(nil), f.Payload...)
			return f
		case wire.Nothing:
			h.fill()
		default:
			h.t.Fatal("the agent sent something that is no frame")
		}
	}
}

// message appends a control frame with the given pairs.
func message(b []byte, channel uint32, op string, pairs ...any) []byte {
	start := len(b)
	b = wire.BeginFrame(b, channel, wire.Control, 0)
	b = wire.AppendText(wire.AppendText(wire.AppendMap(b, 1+len(pairs)/2), "op"), op)
	for _, p := range pairs {
		b = value(b, p)
	}
	return wire.EndFrame(b, start)
}

func value(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return wire.AppendText(b, v)
	case uint64:
		return wire.AppendUint(b, v)
	case bool:
		return wire.AppendBool(b, v)
	case []byte:
		return wire.AppendBytes(b, v)
	case []string:
		b = wire.AppendArray(b, len(v))
		for _, s := range v {
			b = wire.AppendText(b, s)
		}
		return b
	case []any:
		b = wire.AppendArray(b, len(v))
		for _, x := range v {
			b = value(b, x)
		}
		return b
	case pairs:
		b = wire.AppendMap(b, len(v)/2)
		for _, x := range v {
			b = value(b, x)
		}
		return b
	}
	panic("no such value")
}

// pairs is a map.
type pairs []any

func startMessage(b []byte, channel uint32, argv []string, more ...any) []byte {
	all := pairs{"argv", argv, "env", []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/"}, "cwd", "", "user", "", "stdin", false}
	for i := 0; i < len(more); i += 2 {
		at := -1
		for j := 0; j < len(all); j += 2 {
			if all[j] == more[i] {
				at = j
			}
		}
		if at < 0 {
			all = append(all, more[i], more[i+1])
		} else {
			all[at+1] = more[i+1]
		}
	}
	return message(b, channel, "start", all...)
}

// result is what became of a process.
type result struct {
	out, err           []byte
	outEnded, errEnded bool
	last               wire.Item // exit or failed
	op                 string
}

func (r result) code() int {
	n, ok := r.last.Get("code").Uint()
	if !ok {
		return -1
	}
	return int(n)
}

// run starts a process with plenty of credit and waits for its end.
func (h *host) run(channel uint32, argv []string, more ...any) result {
	h.t.Helper()
	b := startMessage(nil, channel, argv, more...)
	b = wire.AppendCredit(b, channel, wire.Stdout, 0, 16<<20)
	b = wire.AppendCredit(b, channel, wire.Stderr, 0, 16<<20)
	h.send(b)
	return h.wait(channel)
}

// wait collects a process's output until its end, and checks the order in which things may come.
func (h *host) wait(channel uint32) (r result) {
	h.t.Helper()
	for {
		var f wire.Frame
		if len(h.pending) > 0 {
			f, h.pending = h.pending[0], h.pending[1:]
		} else {
			f = h.next()
		}
		if f.Channel != channel {
			continue
		}
		switch f.Type {
		case wire.Data:
			ended, data := &r.outEnded, &r.out
			if f.Stream == wire.Stderr {
				ended, data = &r.errEnded, &r.err
			}
			if *ended {
				h.t.Fatal("data behind the end of its stream")
			}
			*data = append(*data, f.Payload...)
			*ended = len(f.Payload) == 0
		case wire.Control:
			m := parse(h.t, f)
			r.op, _ = m.Get("op").Text()
			switch r.op {
			case "exit":
				if !r.outEnded || !r.errEnded {
					h.t.Fatal("exit before the end of both streams")
				}
				r.last = m
				return r
			case "failed":
				r.last = m
				return r
			}
		}
	}
}
