package root

import (
	"strconv"
	"strings"
	"syscall"

	"microsandbox/agent/internal/failure"
)

// Mount is something that the sandbox has beside its root, once that has been entered. What is in the image's way is
// followed as it would be by the sandbox's own mount(8): it can lead nowhere but into the sandbox.
type Mount struct {
	Target   string // absolute; made if it is missing
	Disk     string // role of the disk, for a volume; "" for a tmpfs
	ReadOnly bool
	DirSync  bool   // a volume's: what is made, removed or renamed in a folder is so on the disk before the call returns
	Size     uint64 // bytes; a volume's file system is grown to it if it is smaller
	Mode     uint64 // a tmpfs's
}

// Volume is one that is written to.
type Volume struct {
	Disk string // its role
	Dir  int    // descriptor of its topmost folder
}

const (
	volumeFlags = syscall.MS_NOATIME | syscall.MS_NODEV
	tmpfsFlags  = syscall.MS_NOSUID | syscall.MS_NODEV
)

// Add mounts m.
func (r *Root) Add(disks map[string]string, m Mount) *failure.Failure {
	if fail := MountPoint(m.Target); fail != nil {
		return fail
	}
	if m.Disk != "" {
		return r.addVolume(disks, m)
	}
	options := "size=" + strconv.FormatUint(m.Size, 10) + ",mode=" + strconv.FormatUint(m.Mode, 8)
	if err := mount("tmpfs", m.Target, "tmpfs", tmpfsFlags, options); err != nil {
		return failed("mount a tmpfs on "+m.Target, err)
	}
	return nil
}

func (r *Root) addVolume(disks map[string]string, m Mount) *failure.Failure {
	disk := disks[m.Disk]
	if disk == "" {
		return failure.New(failure.NotFound, "the VM has no disk with the serial \""+m.Disk+"\"")
	}
	flags := uintptr(volumeFlags)
	if m.ReadOnly {
		flags |= syscall.MS_RDONLY
	}
	if m.DirSync {
		flags |= syscall.MS_DIRSYNC
	}
	if err := mount(disk, m.Target, "ext4", flags, upperData); err != nil {
		return failed("mount the volume on "+m.Target, err)
	}
	if m.ReadOnly {
		return nil
	}
	// Kept open: whatever the sandbox mounts over it, the way to its file system stays.
	dir, err := syscall.Open(m.Target, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return failed("open the volume on "+m.Target, err)
	}
	r.volumes = append(r.volumes, Volume{m.Disk, dir})
	size, fail := fileSystemSize(disk)
	if fail == nil && size < m.Size {
		fail = growTo(dir, disk, m.Size)
	}
	return fail
}

// MountPoint makes sure that there is a folder at an absolute path, and the folders above it.
func MountPoint(path string) *failure.Failure {
	var st syscall.Stat_t
	for at := 0; at < len(path); {
		next := strings.IndexByte(path[at+1:], '/')
		if at += 1 + next; next < 0 {
			at = len(path)
		}
		dir := path[:at]
		err := syscall.Stat(dir, &st)
		if err == syscall.ENOENT {
			if err = syscall.Mkdir(dir, 0o755); err != nil {
				return failure.New(failure.InvalidArgument, failure.Describe("make the mount point "+dir, err))
			}
			continue
		}
		if err == nil && st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return failure.New(failure.InvalidArgument, failure.Describe("mount on "+path+": "+dir, err))
		}
	}
	return nil
}

// Volumes are those that are written to.
func (r *Root) Volumes() []Volume { return r.volumes }

// leaveVolumes makes their file systems clean.
func (r *Root) leaveVolumes() {
	for _, volume := range r.volumes {
		const flags = syscall.MS_REMOUNT | syscall.MS_RDONLY | volumeFlags
		_ = mount("", "/proc/self/fd/"+strconv.Itoa(volume.Dir), "", flags, "")
	}
}
