package link

import "syscall"

// Device is a port that is a plain descriptor: the character device of a virtio-serial port.
type Device int

// OpenDevice opens a port's device node. The driver lets it be opened once, so no process in the VM can read along.
func OpenDevice(path string) (Device, error) {
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	return Device(fd), err
}

// Descriptor is what the loop watches.
func (d Device) Descriptor() int { return int(d) }

// Read returns 0 while no host is connected (port_fops_read).
func (d Device) Read(b []byte) (int, error) { return syscall.Read(int(d), b) }

// Write returns 0 while no host is connected (port_fops_write).
func (d Device) Write(b []byte) (int, error) { return syscall.Write(int(d), b) }
