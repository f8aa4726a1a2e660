// Package root builds the sandbox's root file system from its disks and moves into it: the image (EROFS, disk "root",
// read-only) below a writable ext4 (disk "upper", or "kept" for one that ran before), stacked by overlayfs. It owns all
// mounts that are not the kernel's own. Before the disks are the sandbox's, it reads only what is the same for every
// sandbox: the fresh upper disk, and the first block of an image, which has the image's tree in its one folder.
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

	// image is the folder of the EROFS that holds the image; the root above it is the same in every image's disk.
	image = lower + "/image"

	lowerOnly = "lowerdir=" + image
	withNames = "lowerdir=" + names + ":" + image
)

// Options say what the host wants of the root.
type Options struct {
	Kept      bool   // the writable disk is "kept", which an earlier run wrote, and not the fresh "upper"
	UpperSize uint64 // bytes; 0: leave the file system as it is
	Hostname  string
	MachineID string
	Hosts     []Host
	// Addresses are the sandbox's own; without any its name stands for itself.
	Addresses []string
	// Nameservers for /etc/resolv.conf; without any the image's own is left.
	Nameservers []string
}

// Host is a line of /etc/hosts.
type Host struct{ Name, Address string }

// Root is the mounted root: what is needed to leave it cleanly.
type Root struct {
	upper   *Upper
	volumes []Volume
	// names are what the layer of names holds; named: the image's /etc took it.
	names Options
	named bool
}

// Upper is a descriptor of the file system that holds the overlay's upper directory, "upper". It has no path any more.
func (r *Root) Upper() int { return r.upper.dir }

// Prepare makes the mount points, before the template is stored.
func Prepare() {
	for _, dir := range []string{lower, freshPoint, keptPoint, newer} {
		_ = syscall.Mkdir(dir, 0o755)
	}
	prepareNames()
}

// Mark is called after each step with its name, to measure it.
type Mark func(step string)

// MountImage mounts the disk "root". Done before the state is stored, it reads the first block of what is there in place of
// an image, and nothing more: no name may be looked up in it before the image has taken its place.
func MountImage(disks map[string]string) *failure.Failure {
	disk := disks["root"]
	if disk == "" {
		return failure.New(failure.NotFound, `the VM has no disk with the serial "root"`)
	}
	if err := mount(disk, lower, "erofs", lowerFlags, ""); err != nil {
		return failed("mount disk \"root\" ("+disk+") as erofs", err)
	}
	return nil
}

// Enter stacks the file systems and moves in. fresh is the upper one if both were mounted before the state was stored, else nil.
// After an error the VM is unusable.
func Enter(disks map[string]string, fresh *Upper, o Options, mark Mark) (*Root, *failure.Failure) {
	if fresh == nil {
		if fail := MountImage(disks); fail != nil {
			return nil, fail
		}
		mark("mount_root")
	}
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
	return &Root{upper: upper, names: o, named: merge}, nil
}

func failed(step string, err error) *failure.Failure {
	return failure.New(failure.Internal, failure.Describe(step, err))
}
