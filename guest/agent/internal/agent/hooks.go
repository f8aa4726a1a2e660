package agent

import (
	"strconv"
	"syscall"
	"time"

	"microsandbox/agent/internal/cgroup"
	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/hooks"
	"microsandbox/agent/internal/loop"
	"microsandbox/agent/internal/root"
	"microsandbox/agent/internal/wire"
)

// HookSettings are for tests; what is not set is as in a VM.
type HookSettings struct {
	Folder         string
	Each, Together time.Duration
}

// hooking is what runs the sandbox's hooks: a process that PID 1 has started and hears of. PID 1 serves on meanwhile.
type hooking struct {
	agent    *Agent
	settings HookSettings
	then     func() // when they are over
	running  bool
	pid      int // a pidfd
	pipe     int
	left     *cgroup.Group
	reports  hooks.Reports
	timer    *loop.Timer
}

func (h *hooking) init(a *Agent, settings HookSettings, then func()) {
	h.agent, h.settings, h.then = a, settings, then
	if settings.Folder == "" {
		h.settings = HookSettings{hooks.Folder, hooks.Each, hooks.Together}
	}
	h.timer = loop.NewTimer(h.late)
}

// start starts them; false, without a failure: there are none.
func (h *hooking) start() (bool, *failure.Failure) {
	if root.Missing(h.settings.Folder) {
		return false, nil
	}
	var fd [2]int
	if err := syscall.Pipe2(fd[:], syscall.O_CLOEXEC); err != nil {
		return false, failure.Of("start the hooks", err)
	}
	a := h.agent
	h.pipe, h.reports = fd[0], hooks.Reports{}
	_ = syscall.SetNonblock(h.pipe, true)
	// Its stderr is the console: nothing but its own end by a fault is told there.
	files := []uintptr{uintptr(a.table.DevNull()), uintptr(fd[1]), 2}
	if own := a.table.Groups.Hooks(); own != nil {
		if h.left = a.table.Groups.Take(); h.left != nil {
			files = append(files, uintptr(own.Descriptor()), uintptr(h.left.Descriptor()))
		}
	}
	attr := syscall.ProcAttr{Env: a.hookEnvironment(), Files: files, Sys: &syscall.SysProcAttr{Setsid: true, PidFD: &h.pid}}
	argv := hooks.Argv(h.settings.Folder, h.settings.Each, h.settings.Together, h.left != nil)
	_, err := syscall.ForkExec("/proc/self/exe", argv, &attr)
	_ = syscall.Close(fd[1])
	if err == nil {
		a.table.Expect()
		h.running = true
		err = a.loop.Watch(h.pipe, loop.Readable, h)
	}
	if err != nil {
		h.abort()
		return false, failure.Of("start the hooks", err)
	}
	a.loop.Arm(h.timer, h.settings.Together+hooks.Slack)
	return true, nil
}

func (a *Agent) hookEnvironment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
		"MSB_SANDBOX=" + a.hostname, "MSB_GENERATION=" + strconv.FormatUint(a.generation, 10),
	}
}

// Ready hears of them.
func (h *hooking) Ready(uint32) {
	var room [4096]byte
	for h.running {
		n, err := syscall.Read(h.pipe, room[:])
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return
		case n > 0:
			if err = h.reports.Take(room[:n], h.say); err != nil {
				h.agent.Log("error", err.Error())
				h.late()
			} else if h.reports.Over {
				h.finish()
			}
		default: // it has ended without a word
			h.agent.Log("error", "what runs the hooks has ended before them")
			h.late()
		}
	}
}

func (h *hooking) say(name, line string) { h.agent.Log("info", "hook "+name+": "+line) }

// late ends what has not ended in time, and goes on.
func (h *hooking) late() {
	h.kill()
	h.finish()
}

func (h *hooking) kill() {
	const pidfdSendSignal = 424 // the same number on every architecture
	_, _, _ = syscall.RawSyscall6(pidfdSendSignal, uintptr(h.pid), uintptr(syscall.SIGKILL), 0, 0, 0, 0)
	if own := h.agent.table.Groups.Hooks(); own != nil {
		own.Signal(syscall.SIGKILL)
	}
}

func (h *hooking) finish() {
	h.release()
	for _, r := range h.reports.Results {
		switch {
		case r.TimedOut:
			h.agent.Log("warn", "hook "+r.Name+" had no time to end, and was killed")
		case r.Signal != 0:
			h.agent.Log("warn", "hook "+r.Name+" was ended by signal "+strconv.Itoa(r.Signal))
		case r.Code != 0:
			h.agent.Log("warn", "hook "+r.Name+" ended with code "+strconv.Itoa(r.Code))
		}
	}
	h.then()
}

// abort ends them without a word.
func (h *hooking) abort() {
	if h.running {
		h.kill()
	}
	h.release()
}

func (h *hooking) release() {
	h.agent.loop.Disarm(h.timer)
	h.agent.loop.Unwatch(h.pipe)
	h.agent.loop.Close(h.pipe)
	if h.running {
		_ = syscall.Close(h.pid)
	}
	h.agent.table.Groups.Return(h.left)
	h.running, h.pipe, h.left = false, -1, nil
}

func appendHooks(b []byte, results []hooks.Result) []byte {
	b = wire.AppendArray(b, len(results))
	for _, r := range results {
		b = wire.AppendText(wire.AppendText(wire.AppendMap(b, 2), "name"), valid(r.Name))
		switch {
		case r.TimedOut:
			b = wire.AppendBool(wire.AppendText(b, "timeout"), true)
		case r.Signal != 0:
			b = wire.AppendUint(wire.AppendText(b, "signal"), uint64(r.Signal))
		default:
			b = wire.AppendUint(wire.AppendText(b, "code"), uint64(r.Code))
		}
	}
	return b
}
