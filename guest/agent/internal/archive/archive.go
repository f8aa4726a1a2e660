// Package archive moves trees of files in and out of a sandbox as tars: "archive" writes one to stdout, "extract" puts one from stdin
// below a folder. Each runs in a process of its own, in the sandbox's root and as root; what goes wrong is on stderr, as
// "code: message" (spec/agent-protocol.md, "archive and extract").
//
// The tree may be anything and change meanwhile, and a tar may come from anywhere. So every step from a folder to what is in it is one
// call with the folder's descriptor that follows no link: nothing outside the named tree is read, nothing outside it is written.
package archive

import (
	"strconv"

	"microsandbox/agent/internal/argument"
	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/tar"
)

const (
	// maxPath is the kernel's bound.
	maxPath = 4096
	// maxDepth bounds folders in folders: a descriptor each.
	maxDepth = 512
)

// Pack writes a file or a folder; args are its path in hexadecimal and, to follow a link that it is, "follow".
func Pack(args []string) int {
	return failure.Finish(func() error {
		if len(args) < 1 || len(args) > 2 || len(args) == 2 && args[1] != "follow" {
			return failure.New(failure.InvalidArgument, "archive: a path and nothing, or follow")
		}
		path, err := argument.Path(args[0])
		if err != nil {
			return err
		}
		return pack(tar.NewWriter(1), path, len(args) == 2)
	})
}

// Extract puts a tar below a folder; args are its path in hexadecimal, and "keep" or the user and the group that all of it gets.
func Extract(args []string) int {
	return failure.Finish(func() error {
		path, to, err := extractArguments(args)
		if err != nil {
			return err
		}
		return extract(tar.NewReader(tar.File(0)), path, to)
	})
}

// owners says whose the files become.
type owners struct {
	keep     bool
	uid, gid uint32
}

func extractArguments(args []string) (path string, to owners, err error) {
	if len(args) == 2 && args[1] == "keep" {
		path, err = argument.Path(args[0])
		return path, owners{keep: true}, err
	}
	if len(args) != 3 {
		return "", to, failure.New(failure.InvalidArgument, "extract: a path, and keep or a user and a group")
	}
	uid, err1 := strconv.ParseUint(args[1], 10, 32)
	gid, err2 := strconv.ParseUint(args[2], 10, 32)
	if err1 != nil || err2 != nil || uid == 1<<32-1 || gid == 1<<32-1 {
		return "", to, failure.New(failure.InvalidArgument, "extract: an owner that is no number")
	}
	path, err = argument.Path(args[0])
	return path, owners{uid: uint32(uid), gid: uint32(gid)}, err
}
