package boot

import (
	"errors"
	"strings"
	"syscall"
	"unsafe"

	"microsandbox/agent/internal/failure"
)

// loadModules inserts every module of a folder in the order of their names, which the build gives them by
// dependency, and removes the files: they would only take memory in every template.
func loadModules(dir string) error {
	for _, name := range names(dir) {
		if !strings.HasSuffix(name, ".ko") {
			continue
		}
		if err := insert(dir + "/" + name); err != nil && err != syscall.EEXIST {
			return errors.New(failure.Describe("kernel module "+name, err))
		}
		_ = syscall.Unlink(dir + "/" + name)
	}
	return nil
}

// virtioNetwork is the device id of a network interface, as sysfs writes it (virtio 1.2, 5).
const virtioNetwork = "0x0001"

// loadNetworkModules does the same for what only a VM with a network interface needs; without one the files just go.
func loadNetworkModules(dir string) error {
	const devices = "/sys/bus/virtio/devices"
	for _, name := range names(devices) {
		if attribute(devices+"/"+name+"/device") == virtioNetwork {
			return loadModules(dir)
		}
	}
	for _, name := range names(dir) {
		_ = syscall.Unlink(dir + "/" + name)
	}
	return nil
}

func insert(path string) error {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var parameters byte
	if _, _, errno := syscall.Syscall(sysFinitModule, uintptr(fd), uintptr(unsafe.Pointer(&parameters)), 0); errno != 0 {
		return errno
	}
	return nil
}
