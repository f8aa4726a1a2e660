package boot

import (
	"errors"
	"strings"
	"syscall"
	"time"
)

// findPort waits for the virtio-serial port of a name and returns its device node.
func findPort(class, name string, patience time.Duration) (string, error) {
	deadline := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		for _, port := range names(class) {
			if attribute(class+"/"+port+"/name") == name {
				return "/dev/" + port, nil
			}
		}
		if time.Now().After(deadline) {
			return "", errors.New("no virtio-serial port is named " + name)
		}
		time.Sleep(pause)
	}
}

// findDisks maps each virtio disk's serial, which names its role, to its device node.
func findDisks(block string) (map[string]string, error) {
	disks := map[string]string{}
	for _, name := range names(block) {
		if !strings.HasPrefix(name, "vd") {
			continue
		}
		role := attribute(block + "/" + name + "/serial")
		if role == "" {
			continue
		}
		if other, twice := disks[role]; twice {
			return nil, errors.New("disks " + other + " and " + name + " have the same serial " + role)
		}
		disks[role] = "/dev/" + name
	}
	return disks, nil
}

// LoopbackUp brings up lo.
func LoopbackUp() error { return interfaceUp("lo") }

func interfaceUp(name string) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return setUp(fd, name)
}
