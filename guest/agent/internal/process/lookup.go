package process

import (
	"slices"
	"strings"
	"syscall"

	"microsandbox/agent/internal/failure"
)

// defaultPath is for a process whose environment names none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// commands lists what to try to execute for an order, at least one.
func (o *order) commands() ([]string, *failure.Failure) {
	path, ok := variable(o.env, "PATH")
	if !ok {
		path = defaultPath
	}
	list, found := candidates(o.argv[0], path, o.cwd)
	switch {
	case len(list) > 0:
		return list, nil
	case found:
		return nil, failure.Cannot(126, failure.PermissionDenied, o.argv[0]+" is in PATH, but not executable")
	}
	return nil, notFound(o.argv[0])
}

// candidates lists what to try to execute for a command, as execvp(3) would: the command itself if it has a slash,
// else each entry of PATH that holds an executable file of that name. found says that a file was there at all.
func candidates(command, path, cwd string) (list []string, found bool) {
	if strings.IndexByte(command, '/') >= 0 {
		return []string{command}, true
	}
	for len(path) > 0 {
		dir := path
		if i := strings.IndexByte(path, ':'); i >= 0 {
			dir, path = path[:i], path[i+1:]
		} else {
			path = ""
		}
		if dir == "" {
			dir = "."
		}
		file := dir + "/" + command
		at := file
		if dir[0] != '/' {
			at = cwd + "/" + file
		}
		var st syscall.Stat_t
		if syscall.Stat(at, &st) != nil {
			continue
		}
		found = true
		if st.Mode&syscall.S_IFMT == syscall.S_IFREG && st.Mode&0o111 != 0 {
			list = append(list, file)
		}
	}
	return list, found
}

// variable returns the value of an environment variable; the last one of a name counts.
func variable(env []string, name string) (string, bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if e := env[i]; len(e) > len(name) && e[len(name)] == '=' && e[:len(name)] == name {
			return e[len(name)+1:], true
		}
	}
	return "", false
}

func notFound(command string) *failure.Failure {
	f := failure.Cannot(127, failure.NotFound, "command not found: "+command)
	if strings.IndexByte(command, '/') < 0 {
		f.Hint = "it is in no directory of PATH; give its path, or an image that has it"
	}
	return f
}

// refused explains why an existing command could not be executed.
func refused(command, cwd string, uid, gid int, groups []uint32, err error) *failure.Failure {
	switch err {
	case syscall.ENOENT, syscall.ENOTDIR:
		at := command
		if command[0] != '/' {
			at = cwd + "/" + command
		}
		var st syscall.Stat_t
		if syscall.Stat(at, &st) != nil {
			return notFound(command)
		}
		return failure.Cannot(126, failure.PermissionDenied, command+" cannot be executed: its interpreter or loader is missing")
	case syscall.EACCES, syscall.EPERM:
		if !mayEnter(cwd, uid, gid, groups) {
			return failure.Cannot(126, failure.InvalidArgument, "working directory "+cwd+": permission denied")
		}
		return failure.Cannot(126, failure.PermissionDenied, command+" cannot be executed: permission denied")
	case syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE:
		return failure.Cannot(126, failure.ResourceExhausted, failure.Describe("cannot start "+command, err))
	case syscall.EINVAL:
		return failure.Cannot(126, failure.InvalidArgument, failure.Describe("cannot start "+command, err))
	}
	return failure.Cannot(126, failure.PermissionDenied, failure.Describe(command+" cannot be executed", err))
}

// mayEnter guesses from the mode bits whether a user may change into a directory. It only words an error: the
// kernel does not tell which of chdir and execve it refused.
func mayEnter(dir string, uid, gid int, groups []uint32) bool {
	if uid == 0 {
		return true
	}
	for i := 1; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' && i > 1 {
			continue
		}
		var st syscall.Stat_t
		if syscall.Stat(dir[:i], &st) != nil {
			return true
		}
		bit := uint32(0o001)
		switch {
		case int(st.Uid) == uid:
			bit = 0o100
		case int(st.Gid) == gid || slices.Contains(groups, st.Gid):
			bit = 0o010
		}
		if st.Mode&bit == 0 {
			return false
		}
	}
	return true
}
