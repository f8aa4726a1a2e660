package folder

import (
	"os"
	"strconv"
	"syscall"
	"time"
)

// mountAt makes the mount point and mounts. The path is followed as any program in the sandbox would follow it: it
// leads nowhere but into the sandbox. The kernel checks permissions by the modes and owners that the host shows.
func mountAt(device int, target string, readOnly bool) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	flags := uintptr(syscall.MS_NOSUID | syscall.MS_NODEV)
	if readOnly {
		flags |= syscall.MS_RDONLY
	}
	options := "fd=" + strconv.Itoa(device) + ",rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
	return syscall.Mount("host", target, "fuse.msb", flags, options)
}

// protect keeps the relay alive when memory is short: with it every file on the mount would go.
func protect() {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-900"), 0)
}

// leave unmounts when the sandbox shuts down: TERM goes to every process, and others may still need the folder to
// save what they have. So it waits until they are gone; if they stay, KILL ends them and this process alike, and the
// kernel aborts what was under way. Until unmount(2) is done the relay goes on, since it writes what is dirty.
func leave(term chan os.Signal, target string) {
	<-term
	for othersRun() {
		time.Sleep(20 * time.Millisecond)
	}
	if syscall.Unmount(target, 0) != nil {
		_ = syscall.Unmount(target, syscall.MNT_DETACH)
	}
	os.Exit(0)
}

// othersRun says whether a process runs that is neither PID 1, a relay nor the kernel's own.
func othersRun() bool {
	proc, err := os.Open("/proc")
	if err != nil {
		return false
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return false
	}
	for _, name := range names {
		if name == "1" || name[0] < '0' || name[0] > '9' {
			continue
		}
		command, err := os.ReadFile("/proc/" + name + "/cmdline")
		if err != nil || len(command) == 0 { // gone, dead, or a thread of the kernel
			continue
		}
		const own = "msb-folder\x00"
		if len(command) < len(own) || string(command[:len(own)]) != own {
			return true
		}
	}
	return false
}
