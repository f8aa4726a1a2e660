package root

import (
	"strings"
	"syscall"

	"microsandbox/agent/internal/failure"
)

// names is a directory of the initramfs, in memory, that lies between the image and the upper file system: it holds
// /etc/hostname, /etc/hosts and /etc/machine-id, and with a network /etc/resolv.conf. Written there they cost nothing, while creating three files on ext4
// took a quarter of the whole setup under emulation; the image's own files and links of these names are covered
// and never written through; and what a user makes of the files is copied up and outlives a restart.
const names = "/.names"

var nameFiles = [...]string{"hostname", "hosts", "machine-id"}

// nameFDs are the files, open since before the template was stored: to open and to truncate them would cost more than to
// write them. They stay open: once the root is entered no path leads to them, and a VM that becomes another one has other names.
var nameFDs [len(nameFiles)]int

// prepareNames makes the files, each one byte long, before the template is stored.
func prepareNames() {
	_ = syscall.Mkdir(names, 0o755)
	_ = syscall.Mkdir(names+"/etc", 0o755)
	for i, name := range nameFiles {
		const flags = syscall.O_WRONLY | syscall.O_CREAT | syscall.O_TRUNC | syscall.O_CLOEXEC
		nameFDs[i], _ = syscall.Open(names+"/etc/"+name, flags, 0o644)
		_, _ = syscall.Pwrite(nameFDs[i], []byte{' '}, 0)
	}
}

// writeNames fills them in. With an image whose /etc is no directory there is nothing to be merged with: false.
func writeNames(o Options) (bool, *failure.Failure) {
	st := syscall.Stat_t{Mode: syscall.S_IFDIR | 0o755}
	if err := syscall.Lstat(image+"/etc", &st); err != nil && err != syscall.ENOENT {
		return false, failed("look at the image's /etc", err)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return false, nil
	}
	// The topmost directory of a merge lends it its attributes.
	if st.Mode&0o7777 != 0o755 {
		_ = syscall.Chmod(names+"/etc", st.Mode&0o7777)
	}
	if st.Uid != 0 || st.Gid != 0 {
		_ = syscall.Lchown(names+"/etc", int(st.Uid), int(st.Gid))
	}
	_ = syscall.UtimesNano(names+"/etc", []syscall.Timespec{st.Mtim, st.Mtim})
	for i, content := range contents(o) {
		// Every content is longer than what was prepared.
		if _, err := syscall.Pwrite(nameFDs[i], []byte(content), 0); err != nil {
			return false, failed("write /etc/"+nameFiles[i], err)
		}
	}
	if fail := writeResolver(o.Nameservers); fail != nil {
		return false, fail
	}
	return true, nil
}

// contents are those of nameFiles.
func contents(o Options) [len(nameFiles)]string {
	return [...]string{o.Hostname + "\n", hosts(o), o.MachineID + "\n"}
}

func hosts(o Options) string {
	b := make([]byte, 0, 256)
	b = append(b, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"...)
	own := o.Addresses
	if len(own) == 0 {
		own = []string{"127.0.1.1"}
	}
	for _, address := range own {
		b = append(b, address...)
		b = append(b, '\t')
		b = append(b, o.Hostname...)
		b = append(b, '\n')
	}
	for _, h := range o.Hosts {
		b = append(b, h.Address...)
		b = append(b, '\t')
		b = append(b, h.Name...)
		b = append(b, '\n')
	}
	return string(b)
}

// Valid says whether a host's entry is one line of two words.
func (h Host) Valid() bool {
	for _, s := range []string{h.Name, h.Address} {
		if s == "" || len(s) > 255 || strings.ContainsAny(s, " \t\r\n\v\f#\x00") {
			return false
		}
	}
	return true
}
