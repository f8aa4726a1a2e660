package process

import (
	"syscall"
	"unsafe"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/wire"
)

// limit is one resource limit as the kernel takes it.
type limit struct {
	resource   int
	soft, hard uint64
}

// resources maps getrlimit(2)'s names to numbers, which are the same on amd64 and arm64.
var resources = [...]string{"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as",
	"locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime"}

func parseLimits(list wire.Item) ([]limit, *failure.Failure) {
	if list.Kind() == wire.Absent {
		return nil, nil
	}
	if list.Kind() != wire.Array {
		return nil, failure.Cannot(126, failure.InvalidArgument, "rlimits is not an array")
	}
	limits := make([]limit, 0, list.Len())
	item := list.First()
	for range list.Len() {
		name, _ := item.Get("name").Text()
		soft, ok1 := item.Get("soft").Uint()
		hard, ok2 := item.Get("hard").Uint()
		number := -1
		for i, known := range resources {
			if known == name {
				number = i
			}
		}
		switch {
		case number < 0:
			return nil, failure.Cannot(126, failure.InvalidArgument, "no such rlimit: "+name)
		case !ok1 || !ok2 || soft > hard:
			return nil, failure.Cannot(126, failure.InvalidArgument, "rlimit "+name+": soft must be a number not above hard")
		}
		limits = append(limits, limit{number, soft, hard})
		item = item.Next()
	}
	return limits, nil
}

// impose sets the limits of a process that has stopped at its exec because it is traced, and lets it go: they hold
// before its first instruction, and never for the agent itself. ptrace(2): all requests must come from the thread
// that forked, which is why the loop is bound to its thread.
func impose(pid int, limits []limit) (syscall.Errno, string) {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || !status.Stopped() {
			return syscall.ESRCH, "exec"
		}
		break
	}
	for _, l := range limits {
		value := [2]uint64{l.soft, l.hard}
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), uintptr(l.resource),
			uintptr(unsafe.Pointer(&value)), 0, 0, 0)
		if errno != 0 {
			return errno, resources[l.resource]
		}
	}
	if err := syscall.PtraceDetach(pid); err != nil {
		return err.(syscall.Errno), "detach"
	}
	return 0, ""
}
