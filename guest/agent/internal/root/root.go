// Package root builds the sandbox's root file system from its disks and moves into it: the image (EROFS, disk "root",
// read-only) below a writable ext4 (disk "upper", or "kept" for one that ran before), stacked by overlayfs. It owns all
// mounts that are not the kernel's own. But for the upper disk, which is fresh then and always the same, no disk is read
// before it is the sandbox's.
//
// The image is hostile to the agent as far as it can plant symlinks and odd files where the agent writes; no path
// inside of it is written through a link.
package root

import (
	"syscall"

	"microsandbox/agent/internal/failure"
)

const (
	lower = "/.lower"
	newer = "/.root"

	// The image needs no access times and no devices of its own; programs in it may be set-uid.
	lowerFlags = syscall.MS_RDONLY | syscall.MS_NOATIME | syscall.MS_NODEV

	lowerOnly = "lowerdir=" + lower
	withNames = "lowerdir=" + names + ":" + lower
)

// Options say what the host wants of the root.
type Options struct {
	Kept      bool   // the writable disk is "kept", which an earlier run wrote, and not the fresh "upper"
	UpperSize uint64 // bytes; 0: leave the file system as it is
	Hostname  string
	MachineID string
	Hosts     []Host
}

// Host is a line of /etc/hosts.
type Host struct{ Name, Address string }

// Root is the mounted root: what is needed to leave it cleanly.
type Root struct {
	upper *Upper
}

// Prepare makes the mount points, before the template is stored.
func Prepare() {
	for _, dir := range []string{lower, freshPoint, keptPoint, newer} {
		_ = syscall.Mkdir(dir, 0o755)
	}
	prepareNames()
}

// Mark is called after each step with its name, to measure it.
type Mark func(step string)

// Enter mounts and moves in. fresh is the upper file system if it was mounted before the state was stored, else nil. After an
// error the VM is unusable.
func Enter(disks map[string]string, fresh *Upper, o Options, mark Mark) (*Root, *failure.Failure) {
	rootDisk := disks["root"]
	if rootDisk == "" {
		return nil, failure.New(failure.NotFound, `the VM has no disk with the serial "root"`)
	}
	if err := mount(rootDisk, lower, "erofs", lowerFlags, ""); err != nil {
		return nil, failed("mount disk \"root\" ("+rootDisk+") as erofs", err)
	}
	mark("mount_root")
	upper := fresh
	var fail *failure.Failure
	switch {
	case o.Kept:
		// The fresh one stays where it is, unused: to unmount it would only write to a disk that is thrown away.
		upper, fail = mountUpper(disks, "kept", keptPoint)
	case upper == nil:
		upper, fail = MountFresh(disks)
	}
	if fail == nil {
		fail = upper.grow(o.UpperSize)
	}
	if fail != nil {
		return nil, fail
	}
	mark("mount_upper")
	data := lowerOnly
	merge, fail := writeNames(o)
	if fail != nil {
		return nil, fail
	}
	if merge {
		data = withNames
	}
	mark("names")
	if err := mount("overlay", newer, "overlay", syscall.MS_NOATIME, data+upper.overlayOptions()); err != nil {
		return nil, failed("mount disks \"root\" and \""+upper.role+"\" as overlay", err)
	}
	mark("mount_overlay")
	if fail := moveIn(); fail != nil {
		return nil, fail
	}
	mark("switch_root")
	return &Root{upper}, nil
}

func failed(step string, err error) *failure.Failure {
	return failure.New(failure.Internal, failure.Describe(step, err))
}
