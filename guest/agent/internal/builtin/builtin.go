// Package builtin lists what the agent's executable does besides being PID 1, each on a channel of its own and in a
// process of its own: it may block, and PID 1 must not. The table is all that PID 1 knows of them.
package builtin

import (
	"strings"

	"microsandbox/agent/internal/archive"
	"microsandbox/agent/internal/changes"
	"microsandbox/agent/internal/files"
	"microsandbox/agent/internal/folder"
	"microsandbox/agent/internal/monitor"
	"microsandbox/agent/internal/watch"
)

// prefix makes a builtin's name the name of a program, which is how its process knows what to do.
const prefix = "msb-"

// Builtin is one of them.
type Builtin struct {
	// Run does it, with the arguments behind the name, and returns the exit code.
	Run func(args []string) int
	// Upper: it is given the file system that takes what the sandbox writes, as descriptor 3.
	Upper bool
	// Lasts: another host can go on with it, so it does not end with its connection, and later hellos list it.
	Lasts bool
	// Mounts: it serves files through PID 1's connection, so PID 1 itself must never wait for one.
	Mounts bool
}

var all = map[string]*Builtin{
	"archive": {Run: archive.Pack},
	"extract": {Run: archive.Extract},
	"changes": {Run: func([]string) int { return changes.Run() }, Upper: true},
	"files":   {Run: func([]string) int { return files.Run() }},
	"folder":  {Run: folder.Run, Lasts: true, Mounts: true},
	"watch":   {Run: watch.Run},
}

// Find gives the builtin of a name, or nil.
func Find(name string) *Builtin { return all[name] }

// Argv is what a builtin's process is started with.
func Argv(name string, args []string) []string { return append([]string{prefix + name}, args...) }

// Run does what this process was started for; false: it was not started as a builtin.
func Run(argv []string) (code int, is bool) {
	name, ok := strings.CutPrefix(argv[0], prefix)
	if b := all[name]; ok && b != nil {
		monitor.Quieten()
		return b.Run(argv[1:]), true
	}
	return 0, false
}
