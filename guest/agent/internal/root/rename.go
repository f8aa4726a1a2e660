package root

import (
	"syscall"

	"microsandbox/agent/internal/failure"
)

// New names for a root that was entered under others, in a VM that was loaded from a sandbox's state.
//
// The layer of names lies below a mounted overlay, where the kernel's documentation (overlayfs.rst, "Changes to underlying
// filesystems") asks for no changes. Bytes of a file are no concern of it: overlayfs reads them through that file's own
// pages. So they are written in place, and no file is made or removed. Nobody reads meanwhile: user processes stand still.
//
// A file that the sandbox has copied up, but for its times and modes, is still what setup made and is written too; what it
// has made of one is its own, and stays.

// Names are what a sandbox is called.
type Names struct {
	Hostname, MachineID string
	// Addresses and Nameservers are as in Options; nil: as they were.
	Addresses, Nameservers []string
}

// Rename gives the root other names.
func (r *Root) Rename(n Names) *failure.Failure {
	if !r.named {
		return nil
	}
	was, o := r.names, r.names
	o.Hostname, o.MachineID = n.Hostname, n.MachineID
	if n.Addresses != nil {
		o.Addresses = n.Addresses
	}
	if n.Nameservers != nil {
		o.Nameservers = n.Nameservers
	}
	before, after := contents(was), contents(o)
	for i, name := range nameFiles {
		if fail := replace(name, nameFDs[i], before[i], after[i]); fail != nil {
			return fail
		}
	}
	// Without one from the start there is none to be written in place.
	if resolverFD >= 0 {
		resolverNow = resolverOf(o.Nameservers)
		if fail := replace("resolv.conf", resolverFD, resolverOf(was.Nameservers), resolverNow); fail != nil {
			return fail
		}
	}
	r.names = o
	return nil
}

// replace writes a file of the layer, and what the sandbox sees in its place if that is the same still.
func replace(name string, fd int, before, after string) *failure.Failure {
	if before == after {
		return nil
	}
	if err := overwrite(fd, after); err != nil {
		return failed("write /etc/"+name, err)
	}
	seen := "/etc/" + name
	// Not for writing at first: that alone would copy the file up. One that was not reads as the new one by now.
	if !same(seen, before) {
		return nil
	}
	own := openOwn(seen, syscall.O_RDWR)
	if own < 0 {
		return nil
	}
	defer syscall.Close(own)
	if err := overwrite(own, after); err != nil {
		return failed("write the sandbox's /etc/"+name, err)
	}
	return nil
}

// overwrite makes content all that a file holds.
func overwrite(fd int, content string) error {
	for b, at := []byte(content), int64(0); len(b) > 0; {
		n, err := syscall.Pwrite(fd, b, at)
		if err != nil {
			return err
		}
		b, at = b[n:], at+int64(n)
	}
	return syscall.Ftruncate(fd, int64(len(content)))
}

// same says whether content is all that a file of the root itself holds.
func same(path, content string) bool {
	fd := openOwn(path, syscall.O_RDONLY)
	if fd < 0 {
		return false
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	if syscall.Fstat(fd, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Size != int64(len(content)) {
		return false
	}
	b := make([]byte, len(content))
	n, err := syscall.Pread(fd, b, 0)
	return err == nil && string(b[:n]) == content
}
