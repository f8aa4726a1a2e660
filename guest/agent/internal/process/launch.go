package process

import (
	"os"
	"runtime"
	"strconv"
	"syscall"

	"microsandbox/agent/internal/user"
)

// A sandbox with a folder of the host starts its processes in two steps. To look a command up, to change into a
// directory of that folder or to execute a file of it asks the host, and the question goes through PID 1: which must
// not wait for the answer, as it does while it forks. So PID 1 starts the agent's own executable, which touches nothing
// of the sandbox's, and that does the rest. What goes wrong there cannot be told as `failed` any more: it ends with the
// exit code that `failed` would have had, and says why on stderr, as a shell does.

const (
	self       = "/proc/self/exe"
	launchMark = "msb-launch"
	ptyMajor   = 136 // devices.txt: pseudoterminals
)

// indirect makes of an order one for the launcher.
func indirect(o order) order {
	argv := []string{self, launchMark, o.user, o.cwd, flag(o.createCwd), strconv.Itoa(len(o.limits))}
	for _, l := range o.limits {
		argv = append(argv, strconv.Itoa(l.resource), strconv.FormatUint(l.soft, 10), strconv.FormatUint(l.hard, 10))
	}
	argv = append(argv, flag(hasHome(o.env)))
	o.argv = append(argv, o.argv...)
	if !hasHome(o.env) {
		o.env = append(o.env, "HOME=/") // found out by the launcher
	}
	o.user, o.cwd, o.createCwd, o.limits = "", "/", false, nil
	return o
}

func hasHome(env []string) bool {
	_, has := variable(env, "HOME")
	return has
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return ""
}

// Launch does what a launcher was started for, and does not come back then.
func Launch(args []string) {
	if len(args) < 8 || args[0] != self || args[1] != launchMark {
		return
	}
	runtime.LockOSThread()
	o := order{user: args[2], cwd: args[3], createCwd: args[4] != "", env: os.Environ()}
	n, _ := strconv.Atoi(args[5])
	rest := args[6:]
	for range n {
		if len(rest) < 3 {
			os.Exit(126)
		}
		resource, _ := strconv.Atoi(rest[0])
		soft, _ := strconv.ParseUint(rest[1], 10, 64)
		hard, _ := strconv.ParseUint(rest[2], 10, 64)
		o.limits, rest = append(o.limits, limit{resource, soft, hard}), rest[3:]
	}
	if len(rest) < 2 {
		os.Exit(126)
	}
	home := rest[0] != ""
	o.argv = rest[1:]
	var id user.Identity
	if o.user != "" || !home {
		found, fail := user.Load(etc).Find(o.user)
		if fail != nil {
			giveUp(fail.ExitCode, fail.Message)
		}
		id = found
		if !home {
			o.env = append(without(o.env, "HOME="), "HOME="+id.Home)
		}
	}
	if fail := enter(o.cwd, o.createCwd, id); fail != nil {
		giveUp(fail.ExitCode, fail.Message)
	}
	become(o, id)
}

// become takes on the limits, the identity, the directory and the program, in this order: only root may raise a limit, and only as
// the user it is known which directory and program the user may have.
func become(o order, id user.Identity) {
	for _, l := range o.limits {
		// Not by a call of our own: Exec would give the number of files back that the runtime found, had it not seen this.
		if err := syscall.Setrlimit(l.resource, &syscall.Rlimit{Cur: l.soft, Max: l.hard}); err != nil {
			giveUp(126, "rlimit "+resources[l.resource]+": "+err.Error())
		}
	}
	if id.UID != 0 || id.GID != 0 || len(id.Groups) > 0 {
		groups := make([]int, len(id.Groups))
		for i, g := range id.Groups {
			groups[i] = int(g)
		}
		// A terminal belongs to who works at it.
		var st syscall.Stat_t
		if syscall.Fstat(0, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFCHR && st.Rdev>>8&0xfff == ptyMajor {
			_ = syscall.Fchown(0, id.UID, -1)
		}
		if err := syscall.Setgroups(groups); err != nil {
			giveUp(126, "cannot take on the user's groups")
		}
		if syscall.Setgid(id.GID) != nil || syscall.Setuid(id.UID) != nil {
			giveUp(126, "cannot become the user")
		}
	}
	if err := syscall.Chdir(o.cwd); err != nil {
		giveUp(126, "working directory "+o.cwd+": "+err.Error())
	}
	list, fail := o.commands()
	if fail != nil {
		giveUp(fail.ExitCode, fail.Message)
	}
	var err error
	for _, command := range list {
		if err = syscall.Exec(command, o.argv, o.env); err != syscall.EACCES {
			break
		}
	}
	fail = refused(list[len(list)-1], o.cwd, id.UID, id.GID, id.Groups, err)
	giveUp(fail.ExitCode, fail.Message)
}

func without(env []string, prefix string) []string {
	kept := make([]string, 0, len(env))
	for _, e := range env {
		if len(e) < len(prefix) || e[:len(prefix)] != prefix {
			kept = append(kept, e)
		}
	}
	return kept
}

func giveUp(code int, message string) {
	os.Stderr.WriteString(message + "\n")
	os.Exit(code)
}
