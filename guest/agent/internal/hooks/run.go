package hooks

import (
	"os"
	"strconv"
	"syscall"
	"time"

	"microsandbox/agent/internal/cgroup"
	"microsandbox/agent/internal/entries"
)

// runner is the process that runs the hooks.
type runner struct {
	folder string
	each   time.Duration
	end    time.Time
	// hooks is the control group that a hook is in, left that of what it leaves; -1: there are none.
	hooks, left int
	lines       int // still to be told
	// open counts the outputs that somebody still writes to.
	open int
	idle chan struct{}
}

// Run does what this process was started for; false: it was not started to run hooks.
func Run(argv []string) (code int, is bool) {
	if len(argv) != 5 || argv[0] != command {
		return 0, false
	}
	each, _ := strconv.Atoi(argv[2])
	together, _ := strconv.Atoi(argv[3])
	r := &runner{
		folder: argv[1], each: time.Duration(each) * time.Millisecond,
		end:   time.Now().Add(time.Duration(together) * time.Millisecond),
		hooks: -1, left: -1, lines: maxLines, idle: make(chan struct{}, Max),
	}
	if argv[4] != "" {
		r.hooks, r.left = 3, 4
		syscall.CloseOnExec(r.hooks)
		syscall.CloseOnExec(r.left)
	}
	for _, name := range r.names() {
		r.run(name)
	}
	report(over, "", "")
	_ = syscall.Close(1)
	// A daemon that a hook has started may still write where the hook did: without a reader it would die of it.
	for ; r.open > 0; r.open-- {
		<-r.idle
	}
	return 0, true
}

// names are those of the folder's executable files.
func (r *runner) names() []string {
	dir, err := syscall.Open(r.folder, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(dir)
	all, _ := entries.Names(dir)
	names := make([]string, 0, len(all))
	for _, name := range all {
		var st syscall.Stat_t
		if syscall.Stat(r.folder+"/"+name, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Mode&0o111 == 0 {
			continue
		}
		if len(names) == Max {
			r.say(name, "is not run, nor is any behind it: "+strconv.Itoa(Max)+" have been")
			break
		}
		names = append(names, name)
	}
	return names
}

// run runs one hook to its end.
func (r *runner) run(name string) {
	patience := min(r.each, time.Until(r.end))
	if patience <= 0 {
		report(late, name, "")
		return
	}
	output := r.listen()
	pid, err := r.start(name, output)
	if err != nil {
		_ = syscall.Close(output.writer)
		r.say(name, "cannot be started: "+err.Error())
		report(exited, name, "126")
		return
	}
	_ = syscall.Close(output.writer)
	ended := make(chan syscall.WaitStatus, 1)
	go wait(pid, ended)
	var status syscall.WaitStatus
	kind := byte(exited)
	select {
	case status = <-ended:
		if status.Signaled() {
			kind = signaled
		}
	case <-time.After(patience):
		kind = late
		r.kill(pid)
		select {
		case <-ended:
		case <-time.After(Slack / 2): // it is in the middle of something that cannot be broken off
		}
	}
	for _, line := range output.lines() {
		r.say(name, line)
	}
	switch kind {
	case exited:
		report(kind, name, strconv.Itoa(status.ExitStatus()))
	case signaled:
		report(kind, name, strconv.Itoa(int(status.Signal())))
	default:
		report(kind, name, "")
	}
	r.adopt()
}

func (r *runner) start(name string, output *output) (int, error) {
	null, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer syscall.Close(null)
	if output.writer < 0 {
		return 0, syscall.EMFILE
	}
	writer := uintptr(output.writer)
	attr := syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{uintptr(null), writer, writer},
		Sys: &syscall.SysProcAttr{Setsid: true},
	}
	if r.hooks >= 0 {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, r.hooks
	}
	path := r.folder + "/" + name
	return syscall.ForkExec(path, []string{path}, &attr)
}

func wait(pid int, ended chan<- syscall.WaitStatus) {
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			break
		}
	}
	ended <- status
}

// kill ends a hook with all that it has started.
func (r *runner) kill(pid int) {
	if r.hooks >= 0 && cgroup.Kill(r.hooks) == nil {
		return
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}

// adopt makes what a hook has left one of the sandbox's processes, which stands still with them. One that starts others
// faster than they can be moved is killed.
func (r *runner) adopt() {
	if r.hooks >= 0 && !cgroup.MoveAll(r.hooks, r.left) {
		_ = cgroup.Kill(r.hooks)
	}
}

// say tells a line of what a hook has to say.
func (r *runner) say(name, line string) {
	switch {
	case r.lines == 1:
		line = "(no more lines are kept)"
	case r.lines < 1:
		return
	}
	r.lines--
	report(said, name, line)
}

// report tells PID 1. What cannot be told is not waited for: PID 1 has ended this process or is about to.
func report(kind byte, name, value string) {
	b := append([]byte{kind}, name...)
	b = append(b, 0)
	b = append(b, value...)
	b = append(b, 0)
	for len(b) > 0 {
		n, err := syscall.Write(1, b)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return
		}
		b = b[n:]
	}
}
