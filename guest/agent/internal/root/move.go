package root

import (
	"strconv"
	"syscall"

	"microsandbox/agent/internal/failure"
)

// moved are the kernel's file systems, mounted at boot with everything below them.
var moved = []string{"/proc", "/sys", "/dev", "/run"}

// moveIn takes the kernel's file systems along and makes the new root "/": what switch_root(8) does.
func moveIn() *failure.Failure {
	for _, dir := range moved {
		if err := directory(newer + dir); err != nil {
			return failed("make the mount point "+dir, err)
		}
		if err := mount(dir, newer+dir, "", syscall.MS_MOVE, ""); err != nil {
			return failed("move "+dir+" into the root", err)
		}
	}
	if err := syscall.Chdir(newer); err != nil {
		return failed("enter the root", err)
	}
	if err := mount(".", "/", "", syscall.MS_MOVE, ""); err != nil {
		return failed("make the overlay the root", err)
	}
	if err := syscall.Chroot("."); err != nil {
		return failed("change the root", err)
	}
	if err := syscall.Chdir("/"); err != nil {
		return failed("enter the root", err)
	}
	return nil
}

// directory makes sure that there is a directory and no link to one, which the mount would follow.
func directory(path string) error {
	var st syscall.Stat_t
	err := syscall.Lstat(path, &st)
	if err == nil && st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		if err = syscall.Unlink(path); err == nil {
			err = syscall.ENOENT
		}
	}
	if err == syscall.ENOENT {
		err = syscall.Mkdir(path, 0o755)
	}
	return err
}

// Leave makes the disks safe to be taken away. What cannot be done is not waited for: the ext4 has a journal.
func (r *Root) Leave() {
	syscall.Sync()
	if r == nil {
		return
	}
	r.leaveVolumes()
	const readOnly = syscall.MS_REMOUNT | syscall.MS_RDONLY
	_ = mount("", "/", "", readOnly, "")
	// The ext4 has no path below the new root; its descriptor still leads there.
	_ = mount("", "/proc/self/fd/"+strconv.Itoa(r.upper.dir), "", readOnly|upperFlags, "")
	syscall.Sync()
}
