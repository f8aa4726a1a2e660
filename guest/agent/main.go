// The guest agent: PID 1 of a microVM. It boots the machine as far as that is the same for every sandbox, then waits
// for the host at a virtio-serial port; there the VM's state is stored as a template. Loaded again, it takes over an
// identity and a root file system and starts processes. See spec/agent-protocol.md.
package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"syscall"

	"microsandbox/agent/internal/agent"
	"microsandbox/agent/internal/boot"
	"microsandbox/agent/internal/builtin"
	"microsandbox/agent/internal/cgroup"
	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/hooks"
	"microsandbox/agent/internal/link"
	"microsandbox/agent/internal/monitor"
	"microsandbox/agent/internal/process"
	"microsandbox/agent/internal/root"
)

const (
	// heapLimit is when the collector runs first; the heap after boot is well below 2 MiB, and what grows with the
	// load (rings) is not on it. Below the limit it never runs, and an idle VM stays idle.
	heapLimit = 24 << 20
	// warmRings are ready before the template is stored: two per process.
	warmRings = 8
	// minBudget is what streams may keep in a VM of any size.
	minBudget = 8 << 20
)

func main() {
	if code, is := builtin.Run(os.Args); is {
		os.Exit(code)
	}
	if code, is := hooks.Run(os.Args); is {
		os.Exit(code)
	}
	process.Launch(os.Args)
	if os.Getpid() != 1 {
		os.Stderr.WriteString("microsandbox agent " + agent.Version + ": to be started as PID 1 of a microVM\n")
		os.Exit(2)
	}
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(heapLimit)
	defer die()
	if err := serve(); err != nil {
		panic(err)
	}
}

func serve() error {
	machine, err := boot.Run()
	if err != nil {
		return err
	}
	monitor.Quieten()
	root.Prepare()
	groups, err := cgroup.Prepare(cgroup.Measured())
	if err != nil {
		boot.Log("error", err.Error()) // without limits the sandbox runs all the same
	}
	v, err := newVM(machine)
	if err != nil {
		return err
	}
	port, err := link.OpenDevice(machine.Port)
	if err != nil {
		return err
	}
	settings := agent.Settings{Port: port, VM: v, Boot: bootID(), Budget: budget(), Warm: warmRings, Groups: groups}
	if groups != nil {
		settings.Freezer = groups
	}
	a, err := agent.New(settings)
	if err != nil {
		return err
	}
	boot.Log("info", "ready on "+machine.Port)
	// What booting left behind must not be stored in every template.
	debug.FreeOSMemory()
	return a.Run()
}

// die is the end of PID 1, and so of the kernel: say why, save what can be saved.
func die() {
	cause := recover()
	message := "PID 1 ended"
	switch c := cause.(type) {
	case error:
		message = c.Error()
	case string:
		message = c
	}
	stack := make([]byte, 4096)
	stack = stack[:runtime.Stack(stack, false)]
	boot.Log("error", "fatal: "+message)
	os.Stderr.WriteString("agent: fatal: " + message + "\n" + string(stack) + "\n")
	syscall.Sync()
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}

// bootID is the kernel's own random number of this boot.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(b) == 0 {
		panic(failure.Describe("boot id", err))
	}
	return string(b[:len(b)-1])
}

// budget is an eighth of memory for all streams together.
func budget() int64 {
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) != nil {
		return minBudget
	}
	return max(minBudget, int64(info.Totalram)*int64(info.Unit)/8)
}
