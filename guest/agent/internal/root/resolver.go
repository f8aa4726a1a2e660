package root

import (
	"syscall"

	"microsandbox/agent/internal/failure"
)

// resolver is /etc/resolv.conf in the layer of names: it covers the image's, be that a file or a link to one that only a
// daemon of the image would write. It is there only where there is a network.
const resolver = names + "/etc/resolv.conf"

// resolverNow is what it holds; empty: there is none.
var resolverNow string

// resolverFD is the file, as nameFDs are theirs; -1: there is none.
var resolverFD = -1

// PrepareResolver writes it before the template is stored: it is mostly the same for all sandboxes.
func PrepareResolver(nameservers []string) { _ = writeResolver(nameservers) }

func writeResolver(nameservers []string) *failure.Failure {
	content := resolverOf(nameservers)
	if content == resolverNow {
		return nil
	}
	if content == "" {
		_ = syscall.Unlink(resolver)
		_ = syscall.Close(resolverFD)
		resolverNow, resolverFD = "", -1
		return nil
	}
	if resolverFD < 0 {
		const flags = syscall.O_WRONLY | syscall.O_CREAT | syscall.O_CLOEXEC
		var err error
		if resolverFD, err = syscall.Open(resolver, flags, 0o644); err != nil {
			return failed("make /etc/resolv.conf", err)
		}
	}
	if err := overwrite(resolverFD, content); err != nil {
		return failed("write /etc/resolv.conf", err)
	}
	resolverNow = content
	return nil
}

func resolverOf(nameservers []string) (content string) {
	for _, address := range nameservers {
		content += "nameserver " + address + "\n"
	}
	return content
}
