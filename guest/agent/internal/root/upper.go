package root

import (
	"syscall"

	"microsandbox/agent/internal/failure"
)

const (
	freshPoint = "/.upper"
	keptPoint  = "/.kept"

	upperFlags = syscall.MS_NOATIME
	// No thread that initializes inode tables in the background: it would keep an idle sandbox busy and its disk growing.
	upperData = "noinit_itable,no_prefetch_block_bitmaps"
)

// Upper is a mounted ext4 with the folders that overlayfs writes to.
type Upper struct {
	role  string // serial of its disk
	disk  string // device node
	point string
	dir   int    // its root directory, which loses its path when the sandbox's root is entered
	size  uint64 // bytes of the file system
}

// MountFresh mounts the disk "upper". Under emulation this costs a third of the whole setup, so it is done before the state is
// stored: a new sandbox's disk begins as an overlay over the very disk that is mounted here.
func MountFresh(disks map[string]string) (*Upper, *failure.Failure) {
	return mountUpper(disks, "upper", freshPoint)
}

func mountUpper(disks map[string]string, role, point string) (*Upper, *failure.Failure) {
	disk := disks[role]
	if disk == "" {
		return nil, failure.New(failure.NotFound, "the VM has no disk with the serial \""+role+"\"")
	}
	named := "disk \"" + role + "\" (" + disk + ")"
	if err := mount(disk, point, "ext4", upperFlags, upperData); err != nil {
		return nil, failed("mount "+named+" as ext4", err)
	}
	u := &Upper{role: role, disk: disk, point: point}
	var err error
	if u.dir, err = syscall.Open(point, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0); err != nil {
		return nil, failed("open "+named, err)
	}
	for _, dir := range []string{point + "/upper", point + "/work"} {
		if err := syscall.Mkdir(dir, 0o755); err != nil && err != syscall.EEXIST {
			return nil, failed("make "+dir+" on "+named, err)
		}
	}
	var fail *failure.Failure
	u.size, fail = fileSystemSize(disk)
	return u, fail
}

// overlayOptions name the upper half of an overlay.
func (u *Upper) overlayOptions() string {
	return ",upperdir=" + u.point + "/upper,workdir=" + u.point + "/work"
}
