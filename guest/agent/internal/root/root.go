// Package root builds the sandbox's root file system from its disks and moves into it: the image (EROFS, disk "root",
// read-only) below a writable ext4 (disk "upper"), stacked by overlayfs. It owns all mounts that are not the
// kernel's own; it runs once, after the disks are the sandbox's.
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
	upper = "/.upper"
	newer = "/.root"

	// The image needs no access times and no devices of its own; programs in it may be set-uid.
	lowerFlags = syscall.MS_RDONLY | syscall.MS_NOATIME | syscall.MS_NODEV
	upperFlags = syscall.MS_NOATIME
	// No thread that initializes inode tables in the background: it would keep an idle sandbox busy and its disk growing.
	upperData = "noinit_itable,no_prefetch_block_bitmaps"

	lowerOnly   = "lowerdir=" + lower
	withNames   = "lowerdir=" + names + ":" + lower
	overlayData = ",upperdir=" + upper + "/upper,workdir=" + upper + "/work"
)

// Options say what the host wants of the root.
type Options struct {
	UpperSize uint64 // bytes; 0: leave the file system as it is
	Hostname  string
	MachineID string
	Hosts     []Host
}

// Host is a line of /etc/hosts.
type Host struct{ Name, Address string }

// Root is the mounted root: what is needed to leave it cleanly.
type Root struct {
	upper int // a directory of the ext4, which has no path any more
}

// Prepare makes the mount points, before the template is stored.
func Prepare() {
	for _, dir := range []string{lower, upper, newer} {
		_ = syscall.Mkdir(dir, 0o755)
	}
	prepareNames()
}

// Mark is called after each step with its name, to measure it.
type Mark func(step string)

// Enter mounts and moves in. After an error the VM is unusable.
func Enter(disks map[string]string, o Options, mark Mark) (*Root, *failure.Failure) {
	rootDisk, upperDisk := disks["root"], disks["upper"]
	if rootDisk == "" {
		return nil, failure.New(failure.NotFound, `the VM has no disk with the serial "root"`)
	}
	if upperDisk == "" {
		return nil, failure.New(failure.NotFound, `the VM has no disk with the serial "upper"`)
	}
	if err := syscall.Mount(rootDisk, lower, "erofs", lowerFlags, ""); err != nil {
		return nil, failed("mount disk \"root\" ("+rootDisk+") as erofs", err)
	}
	mark("mount_root")
	if err := syscall.Mount(upperDisk, upper, "ext4", upperFlags, upperData); err != nil {
		return nil, failed("mount disk \"upper\" ("+upperDisk+") as ext4", err)
	}
	r := &Root{}
	var err error
	if r.upper, err = syscall.Open(upper, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0); err != nil {
		return nil, failed("open disk \"upper\"", err)
	}
	mark("mount_upper")
	if fail := grow(r.upper, upperDisk, o.UpperSize); fail != nil {
		return nil, fail
	}
	mark("grow")
	for _, dir := range []string{upper + "/upper", upper + "/work"} {
		if err := syscall.Mkdir(dir, 0o755); err != nil && err != syscall.EEXIST {
			return nil, failed("make "+dir+" on disk \"upper\"", err)
		}
	}
	mark("mkdir")
	data := lowerOnly
	merge, fail := writeNames(o)
	if fail != nil {
		return nil, fail
	}
	if merge {
		data = withNames
	}
	mark("names")
	if err := syscall.Mount("overlay", newer, "overlay", syscall.MS_NOATIME, data+overlayData); err != nil {
		return nil, failed("mount disks \"root\" and \"upper\" as overlay", err)
	}
	mark("mount_overlay")
	if fail := moveIn(); fail != nil {
		return nil, fail
	}
	mark("switch_root")
	return r, nil
}

func failed(step string, err error) *failure.Failure {
	return failure.New(failure.Internal, failure.Describe(step, err))
}
