// Package boot brings the microVM from the kernel's first process to a waiting agent: file systems, modules,
// devices, kernel settings. Everything that does not depend on the sandbox is done here, because the state that is
// stored afterwards (the template) then has it done for every sandbox. It never reads a disk: in a template they are
// placeholders, and what the page cache holds of one would be taken for the real one's contents.
package boot

import (
	"os"
	"strings"
	"syscall"
	"time"

	"microsandbox/agent/internal/failure"
)

// PortName is the virtio-serial port that the host listens at.
const PortName = "org.microsandbox.agent"

// Machine is what boot has found.
type Machine struct {
	Port  string            // device node of the agent's port
	Disks map[string]string // device node by role (the disk's serial)
}

// deviceDeadline bounds the wait for the port: drivers report it asynchronously, after their module is loaded.
const deviceDeadline = 10 * time.Second

// Run boots. An error is fatal: nobody could be told but the console.
func Run() (*Machine, error) {
	IgnoreSignals()
	if err := mountAll(early); err != nil {
		return nil, err
	}
	openConsole()
	if err := loadModules("/modules"); err != nil {
		return nil, err
	}
	if err := loadNetworkModules("/modules/network"); err != nil {
		return nil, err
	}
	// What the image's processes expect besides; without one of these the agent still runs.
	if err := mountAll(late); err != nil {
		Log("warn", err.Error())
	}
	for _, l := range links {
		_ = syscall.Symlink(l[1], l[0])
	}
	tune()
	if err := LoopbackUp(); err != nil {
		Log("warn", failure.Describe("loopback", err))
	}
	port, err := findPort("/sys/class/virtio-ports", PortName, deviceDeadline)
	if err != nil {
		return nil, err
	}
	disks, err := findDisks("/sys/block")
	if err != nil {
		return nil, err
	}
	for _, node := range disks {
		tuneDisk("/sys/block/" + strings.TrimPrefix(node, "/dev/") + "/queue/")
	}
	return &Machine{Port: port, Disks: disks}, nil
}

// openConsole gives the agent a standard output: the runtime writes a fatal error there. In an initramfs without
// /dev/console the kernel starts PID 1 with no descriptors at all.
func openConsole() {
	fd, err := syscall.Open("/dev/console", syscall.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		fd, err = syscall.Open("/dev/null", syscall.O_RDWR, 0)
	}
	if err != nil {
		return
	}
	for i := range 3 {
		if fd != i {
			_ = syscall.Dup3(fd, i, 0)
		}
	}
	if fd > 2 {
		_ = syscall.Close(fd)
	}
}

// names lists a directory, sorted; none if it cannot be read.
func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	list := make([]string, len(entries))
	for i, e := range entries {
		list[i] = e.Name()
	}
	return list
}

// attribute reads a file of sysfs without its newline.
func attribute(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == 0) {
		b = b[:len(b)-1]
	}
	return string(b)
}
