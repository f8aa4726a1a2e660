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

// PrepareResolver writes it before the template is stored: it is mostly the same for all sandboxes.
func PrepareResolver(nameservers []string) { _ = writeResolver(nameservers) }

func writeResolver(nameservers []string) *failure.Failure {
	content := ""
	for _, address := range nameservers {
		content += "nameserver " + address + "\n"
	}
	if content == resolverNow {
		return nil
	}
	if content == "" {
		_ = syscall.Unlink(resolver)
		resolverNow = ""
		return nil
	}
	fd, err := syscall.Open(resolver, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC|syscall.O_CLOEXEC, 0o644)
	if err == nil {
		_, err = syscall.Write(fd, []byte(content))
		_ = syscall.Close(fd)
	}
	if err != nil {
		return failed("write /etc/resolv.conf", err)
	}
	resolverNow = content
	return nil
}
