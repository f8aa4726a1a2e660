package failure

import "syscall"

// codes are what a failed system call means to who has asked for it.
var codes = map[syscall.Errno]string{
	syscall.ENOENT: NotFound,
	syscall.EEXIST: AlreadyExists, syscall.ENOTEMPTY: InvalidState,
	syscall.EACCES: PermissionDenied, syscall.EPERM: PermissionDenied, syscall.EROFS: PermissionDenied,
	syscall.ENOTDIR: InvalidArgument, syscall.EISDIR: InvalidArgument, syscall.EINVAL: InvalidArgument,
	syscall.ELOOP: InvalidArgument, syscall.ENAMETOOLONG: InvalidArgument, syscall.EXDEV: InvalidArgument,
	syscall.ENOSPC: ResourceExhausted, syscall.EDQUOT: ResourceExhausted, syscall.EMFILE: ResourceExhausted,
	syscall.ENFILE: ResourceExhausted, syscall.ENOMEM: ResourceExhausted, syscall.EFBIG: ResourceExhausted,
	syscall.EMLINK: ResourceExhausted, syscall.EBUSY: InvalidState, syscall.ETXTBSY: InvalidState,
	syscall.ENXIO: InvalidArgument, syscall.ENOTSUP: Unsupported, syscall.ENOSYS: Unsupported,
}

// Of makes a failure of a system call's error: "what: why", with the code that the error number stands for.
func Of(what string, err error) *Failure {
	code := Internal
	if errno, ok := err.(syscall.Errno); ok && codes[errno] != "" {
		code = codes[errno]
	}
	return New(code, Describe(what, err))
}
