package files

import (
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/user"
)

// as does something as the user that the request names. A thread of its own takes on the user's identity for files: with it the kernel
// takes away what root may do to files (capabilities(7), "Effect of user ID changes"). The thread ends with the goroutine, since nobody
// unlocks it: no other request can get hold of it.
func (r *request) as(do func() *failure.Failure) *failure.Failure {
	spec, _ := r.Get("user").Text()
	if spec == "" {
		return do()
	}
	id, fail := user.Load("/etc").Find(spec)
	if fail != nil {
		return fail
	}
	if id.UID == 0 && id.GID == 0 && len(id.Groups) == 0 {
		return do()
	}
	runtime.LockOSThread()
	groups := unsafe.Pointer(nil)
	if len(id.Groups) > 0 {
		groups = unsafe.Pointer(&id.Groups[0])
	}
	// The raw calls change this thread alone.
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETGROUPS, uintptr(len(id.Groups)), uintptr(groups), 0); errno != 0 {
		return cannot("act as", spec, errno)
	}
	for _, set := range [2][2]int{{syscall.SYS_SETFSGID, id.GID}, {syscall.SYS_SETFSUID, id.UID}} {
		syscall.RawSyscall(uintptr(set[0]), uintptr(set[1]), 0, 0)
		// It never fails aloud: asked for an impossible id it tells what counts.
		if now, _, _ := syscall.RawSyscall(uintptr(set[0]), ^uintptr(0), 0, 0); int(now) != set[1] {
			return failure.New(failure.Internal, "cannot act as "+spec)
		}
	}
	return do()
}

// owner finds the numbers of "user", "user:group" or ":group"; −1 leaves one as it is.
func owner(spec string) (uid, gid int, fail *failure.Failure) {
	files := user.Load("/etc")
	name, group, explicit := strings.Cut(spec, ":")
	uid, gid = -1, -1
	if name != "" {
		id, fail := files.Find(name)
		if fail != nil {
			return 0, 0, fail
		}
		uid = id.UID
	}
	if explicit {
		var ok bool
		if gid, ok = files.GroupID(group); !ok {
			return 0, 0, failure.New(failure.InvalidArgument, "no such group: "+group)
		}
	}
	if uid < 0 && gid < 0 {
		return 0, 0, failure.New(failure.InvalidArgument, "an owner is user, user:group or :group, not "+spec)
	}
	return uid, gid, nil
}
