package boot

import (
	"errors"
	"syscall"

	"microsandbox/agent/internal/failure"
)

type mount struct {
	target, kind string
	flags        uintptr
	data         string
}

const secure = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC

// early is what the agent itself needs.
var early = []mount{
	{"/proc", "proc", secure, ""},
	{"/sys", "sysfs", secure, ""},
	{"/dev", "devtmpfs", syscall.MS_NOSUID, "mode=0755"},
}

// late is what an image's processes need. It is mounted before the template is stored and moved into the root as it
// is (root.Enter): a move is one step without a new file system. devtmpfs brings a ptmx that belongs to the devpts
// beside it.
var late = []mount{
	{"/dev/pts", "devpts", syscall.MS_NOSUID | syscall.MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666"},
	{"/dev/shm", "tmpfs", syscall.MS_NOSUID | syscall.MS_NODEV, "mode=1777"},
	{"/dev/mqueue", "mqueue", secure, ""},
	{"/run", "tmpfs", syscall.MS_NOSUID | syscall.MS_NODEV, "mode=0755"},
	{"/sys/fs/cgroup", "cgroup2", secure, ""},
}

var links = [][2]string{
	{"/dev/fd", "/proc/self/fd"},
	{"/dev/stdin", "/proc/self/fd/0"},
	{"/dev/stdout", "/proc/self/fd/1"},
	{"/dev/stderr", "/proc/self/fd/2"},
}

func mountAll(list []mount) error {
	var all error
	for _, m := range list {
		_ = syscall.Mkdir(m.target, 0o755)
		err := syscall.Mount(m.kind, m.target, m.kind, m.flags, m.data)
		if err != nil && err != syscall.EBUSY { // EBUSY: there already
			all = errors.Join(all, errors.New(failure.Describe("mount "+m.kind+" on "+m.target, err)))
		}
	}
	return all
}
