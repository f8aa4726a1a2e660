// Package watch tells of changes below a folder, or to one file, as they happen: one process of the agent's own for each watch, which
// writes messages to stdout until it is ended (spec/agent-protocol.md, "watch").
//
// The kernel's inotify tells of single folders, so the watcher keeps a tree of those below and adds new ones as they come. A new folder
// is watched first and read then: nothing falls between. Whoever reads slowly holds the watcher back, until the kernel's queue is full
// and something is lost; that is told as an overflow. The tree is the guest's own and may be anything: how much is watched is bounded.
package watch

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"microsandbox/agent/internal/argument"
	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/kernelfs"
)

const (
	// maxWatches bounds the folders that are watched at once.
	maxWatches = 65536
	// maxPath is the kernel's bound.
	maxPath = 4096
	// maxExcludes bounds the patterns of names that are left out.
	maxExcludes = 32

	oPath = 0x200000 // O_PATH
)

// target is what is to be watched.
type target struct {
	// folder is absolute, without links.
	folder string
	// only is the name of the one file in it that counts; "": all of it.
	only      string
	recursive bool
	excludes  []string
}

// Run watches; args are the path in hexadecimal, "flat" or "recursive", and patterns of what is left out, in hexadecimal.
func Run(args []string) int {
	return failure.Finish(func() error {
		to, err := parse(args)
		if err != nil {
			return err
		}
		w, err := open(to, maxWatches, (&out{fd: 1}).send)
		if err != nil {
			return err
		}
		return w.run()
	})
}

func parse(args []string) (to target, err error) {
	if len(args) < 2 || len(args) > 2+maxExcludes || args[1] != "flat" && args[1] != "recursive" {
		return to, failure.New(failure.InvalidArgument, "watch: a path, flat or recursive, and at most 32 patterns")
	}
	path, err := argument.Path(args[0])
	if err != nil {
		return to, err
	}
	to.recursive = args[1] == "recursive"
	for _, text := range args[2:] {
		pattern, ok := argument.Bytes(text)
		if !ok || pattern == "" || len(pattern) >= maxPath {
			return to, failure.New(failure.InvalidArgument, "watch: a pattern that is none")
		}
		to.excludes = append(to.excludes, pattern)
	}
	return to, resolve(path, &to)
}

// resolve finds what a path leads to. A file is watched in its folder and by its name, so that one that takes its place is seen too.
func resolve(path string, to *target) error {
	fd, err := syscall.Open(path, oPath|syscall.O_CLOEXEC, 0)
	if err != nil {
		return failure.Of("watch "+path, err)
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return failure.Of("look at "+path, err)
	}
	if kernelfs.MadeUp(fd) {
		return failure.New(failure.Unsupported, "cannot watch "+path+": the kernel makes up what is there, and tells of no change")
	}
	real, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil || real[0] != '/' {
		return failure.New(failure.Internal, "cannot find the name of "+path)
	}
	to.folder = real
	if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		slash := strings.LastIndexByte(real, '/')
		to.folder, to.only, to.recursive = real[:max(slash, 1)], real[slash+1:], false
	}
	return nil
}
