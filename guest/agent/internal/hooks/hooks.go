// Package hooks runs the sandbox's own programs in a VM that was loaded from the state of another one, before its processes go
// on: the executable files of /etc/msb/on-restore.d, in the order of the bytes of their names, one after the other.
//
// They run below a process of their own (Run), since looking a file up may block (a folder of the host, a file system that
// a process of the sandbox serves which stands still), and PID 1 must not. That process reports to PID 1 (Reports) by a pipe.
// What a hook leaves running is moved among the sandbox's processes. Bounds: 64 hooks, 10 s each, 30 s together, 48 lines
// of what they say, a report of 4 KiB.
package hooks

import (
	"errors"
	"strconv"
	"time"
)

const (
	// Folder is where they are.
	Folder = "/etc/msb/on-restore.d"
	// Max is how many run at most.
	Max = 64
	// Each is what one may take, Together what all may.
	Each     = 10 * time.Second
	Together = 30 * time.Second
	// Slack is what the process that runs them may take beyond that: those that are killed must end.
	Slack = 4 * time.Second

	command    = "msb-hooks"
	maxLines   = 48
	maxReport  = 4096
	maxLine    = 512
	maxNameLen = 255
)

// The kinds of reports. A report is its kind, a name, NUL, a value, NUL.
const (
	exited   = 'c' // the exit code
	signaled = 's' // the signal's number
	late     = 't' // killed, or never started, for want of time
	said     = 'l' // a line of its output
	over     = 'd' // there are no more
)

// Result is what became of a hook: one of the three.
type Result struct {
	Name     string
	Code     int
	Signal   int
	TimedOut bool
}

// Argv is what the process that runs them is started with. With groups its descriptor 3 is the control group that they are
// to be in, and 4 the one of what they leave. Its environment is theirs.
func Argv(folder string, each, together time.Duration, groups bool) []string {
	with := ""
	if groups {
		with = "groups"
	}
	return []string{command, folder, milliseconds(each), milliseconds(together), with}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Millisecond), 10) }

// Reports reads what that process tells.
type Reports struct {
	// Over: it has told all.
	Over    bool
	Results []Result
	pending []byte
}

var errReport = errors.New("what runs the hooks has told nonsense")

// Take reads more of it; line is called for each line of a hook's output.
func (r *Reports) Take(b []byte, line func(name, text string)) error {
	r.pending = append(r.pending, b...)
	for {
		name, value, length := cut(r.pending)
		if length == 0 {
			if len(r.pending) > maxReport {
				return errReport
			}
			return nil
		}
		if name == "" || r.Over {
			return errReport
		}
		kind := name[0]
		name = name[1:]
		r.pending = r.pending[length:]
		number, err := strconv.Atoi(value)
		switch kind {
		case said:
			line(name, value)
			continue
		case over:
			r.Over = true
			continue
		case exited:
			if err != nil || number < 0 || number > 255 {
				return errReport
			}
			r.add(Result{Name: name, Code: number})
		case signaled:
			if err != nil || number < 1 || number > 64 {
				return errReport
			}
			r.add(Result{Name: name, Signal: number})
		case late:
			r.add(Result{Name: name, TimedOut: true})
		default:
			return errReport
		}
		if len(r.Results) > Max || len(name) > maxNameLen {
			return errReport
		}
	}
}

func (r *Reports) add(one Result) { r.Results = append(r.Results, one) }

// cut finds the first report; length is 0 if it is not whole yet.
func cut(b []byte) (name, value string, length int) {
	first := -1
	for i, c := range b[:min(len(b), maxReport)] {
		if c != 0 {
			continue
		}
		if first < 0 {
			first = i
			continue
		}
		return string(b[:first]), string(b[first+1 : i]), i + 1
	}
	return "", "", 0
}
