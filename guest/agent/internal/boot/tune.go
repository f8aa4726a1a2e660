package boot

import (
	"os"
	"syscall"
	"unsafe"
)

// settings are written below /proc/sys. One that the kernel does not have is passed over.
var settings = [][2]string{
	{"kernel/printk", "4 4 1 7"},                  // errors and worse on the console, the rest in the log
	{"kernel/panic", "-1"},                        // a panic ends the VM at once (QEMU runs with -no-reboot)
	{"kernel/hung_task_timeout_secs", "0"},        // a VM that was paused for an hour is not hung
	{"kernel/watchdog", "0"},                      // nor is it locked up
	{"kernel/pid_max", "4194304"},                 // what a 64-bit distribution has: pids are not soon used again
	{"net/ipv4/ip_unprivileged_port_start", "0"},  // the VM is the boundary: any user may serve on port 80,
	{"net/ipv4/ping_group_range", "0 2147483647"}, // and ping
	{"fs/inotify/max_user_instances", "1024"},     // file watchers of development servers
	{"fs/inotify/max_user_watches", "524288"},
	{"vm/max_map_count", "262144"}, // JVMs and databases ask for it
	{"vm/stat_interval", "10"},     // fewer wake-ups of an idle VM
	{"vm/panic_on_oom", "0"},       // PID 1 itself is never a victim (oom_unkillable_task)
	{"vm/oom_dump_tasks", "0"},     // the kernel's log is not the place for a fork bomb's thousand processes
}

// maxOpen is nr_open's default, the most the kernel lets a process ask for.
const maxOpen = 1048576

func tune() {
	for _, s := range settings {
		_ = os.WriteFile("/proc/sys/"+s[0], []byte(s[1]), 0)
	}
	// Through the syscall package and not prlimit: it then knows that its own raised limit is meant, and leaves it
	// to children as it is.
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: maxOpen, Max: maxOpen})
}

// diskSettings leave the order of requests and the throttling of writers to the host, whose disk it is in the end.
var diskSettings = [][2]string{{"scheduler", "none"}, {"wbt_lat_usec", "0"}, {"add_random", "0"}}

func tuneDisk(queue string) {
	for _, s := range diskSettings {
		_ = os.WriteFile(queue+s[0], []byte(s[1]), 0)
	}
}

// IgnoreSignals makes PID 1 deaf. The kernel spares PID 1 from signals that it has no handler for, but the Go runtime
// has one for each, and ends the process on most. The exceptions are the runtime's own: faults, which it turns into
// panics, and SIGURG, with which it preempts goroutines. Children start with default actions: the runtime resets all that
// it once handled.
func IgnoreSignals() {
	for n := syscall.Signal(1); n <= 64; n++ {
		switch n {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGURG, syscall.SIGPROF,
			syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP, 32, 33, 34,
			syscall.SIGCONT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU:
			// The runtime has no handler for the last four and would not reset them in children.
			continue
		}
		action := sigaction{handler: ignore}
		if n == syscall.SIGCHLD {
			// By default it has no effect either; explicitly ignored, the kernel would bury children with their status.
			action.handler = 0
		}
		_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	}
}

const ignore = 1 // SIG_IGN

// sigaction is the kernel's struct; on arm64 it has no restorer, and mask comes earlier, but all are zero.
type sigaction struct {
	handler, flags, restorer, mask uint64
}

// ifreq is the part of struct ifreq that SIOCSIFFLAGS takes.
type ifreq struct {
	name  [syscall.IFNAMSIZ]byte
	flags uint16
	_     [22]byte
}

func setUp(socket int, name string) error {
	request := ifreq{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(request.name[:len(request.name)-1], name)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(socket), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return errno
	}
	return nil
}
