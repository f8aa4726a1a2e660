// Package failure holds the one error type that crosses the protocol: a code of the platform's closed set, a
// sentence that names the thing, and what to do next. It is made where the facts are and never re-worded on the way.
package failure

import "syscall"

const (
	InvalidArgument   = "invalid_argument"
	NotFound          = "not_found"
	AlreadyExists     = "already_exists"
	InvalidState      = "invalid_state"
	PermissionDenied  = "permission_denied"
	ResourceExhausted = "resource_exhausted"
	Timeout           = "timeout"
	Unsupported       = "unsupported"
	Internal          = "internal"
)

// Failure is an error that is answered to the host.
type Failure struct {
	Code    string
	Message string
	Hint    string
	// ExitCode is 126 or 127 if a process could not be started, else 0.
	ExitCode int
}

func (f *Failure) Error() string { return f.Message }

// New makes a failure of a request.
func New(code, message string) *Failure { return &Failure{Code: code, Message: message} }

// Cannot makes a failure of a process that could not be started.
func Cannot(exitCode int, code, message string) *Failure {
	return &Failure{Code: code, Message: message, ExitCode: exitCode}
}

// Describe says "what: why" of a failed system call. It is the agent's fmt.Errorf: the fmt package would be
// translated code that is needed only here.
func Describe(what string, err error) string {
	if err == nil {
		return what
	}
	if errno, ok := err.(syscall.Errno); ok {
		return what + ": " + errno.Error()
	}
	return what + ": " + err.Error()
}
