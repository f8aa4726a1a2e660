package boot

import "syscall"

// kernelLevels are syslog's numbers for the protocol's levels.
var kernelLevels = map[string]string{"info": "<6>", "warn": "<4>", "error": "<3>"}

// Log writes a line to the kernel's log, and so to the console if it is an error.
func Log(level, message string) {
	fd, err := syscall.Open("/dev/kmsg", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_, _ = syscall.Write(fd, []byte(kernelLevels[level]+"agent: "+message+"\n"))
	_ = syscall.Close(fd)
}
