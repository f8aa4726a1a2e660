// Package identity makes a VM that was loaded from a stored state one of its own: random numbers, clock, host name.
// Every sandbox of a template wakes with the same pool and the same clock; until this has happened no user code may
// run. It owns the descriptor of the random device.
package identity

import (
	"syscall"
	"unsafe"

	"microsandbox/agent/internal/failure"
)

const (
	rndAddEntropy = 0x40085203 // RNDADDENTROPY, random(4)
	rndReseedCRNG = 0x5207     // RNDRESEEDCRNG

	// MinEntropy and MaxEntropy bound what the host hands over.
	MinEntropy = 32
	MaxEntropy = 512
)

// Random is the kernel's random device.
type Random int

// OpenRandom opens it in advance.
func OpenRandom() (Random, error) {
	fd, err := syscall.Open("/dev/random", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	return Random(fd), err
}

// poolInfo is struct rand_pool_info.
type poolInfo struct {
	bits, size int32
	entropy    [MaxEntropy]byte
}

// Reseed credits entropy and has the generator take it in at once. Without the second step the kernel would go on
// with the template's key for up to a minute.
func (r Random) Reseed(entropy []byte) *failure.Failure {
	if len(entropy) < MinEntropy || len(entropy) > MaxEntropy {
		return failure.New(failure.InvalidArgument, "entropy must have 32 to 512 bytes")
	}
	info := poolInfo{bits: int32(8 * len(entropy)), size: int32(len(entropy))}
	copy(info.entropy[:], entropy)
	_, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(r), rndAddEntropy, uintptr(unsafe.Pointer(&info)))
	if errno != 0 {
		return failure.New(failure.Internal, failure.Describe("credit entropy (RNDADDENTROPY)", errno))
	}
	if _, _, errno = syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(r), rndReseedCRNG, 0); errno != 0 {
		return failure.New(failure.Internal, failure.Describe("reseed the random generator (RNDRESEEDCRNG)", errno))
	}
	return nil
}

// SetClock sets the wall clock, in nanoseconds of Unix time.
func SetClock(ns uint64) *failure.Failure {
	t := syscall.NsecToTimespec(int64(ns))
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_SETTIME, 0, uintptr(unsafe.Pointer(&t)), 0)
	if errno != 0 {
		return failure.New(failure.Internal, failure.Describe("set the clock", errno))
	}
	return nil
}

// SetHostname names the host.
func SetHostname(name string) *failure.Failure {
	if err := syscall.Sethostname([]byte(name)); err != nil {
		return failure.New(failure.Internal, failure.Describe("set the host name "+name, err))
	}
	return nil
}

// ValidHostname says whether a name is one by RFC 1123 and fits the kernel's 64 bytes.
func ValidHostname(name string) bool {
	if name == "" || len(name) > 64 || name[0] == '-' || name[0] == '.' {
		return false
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.') {
			return false
		}
	}
	return true
}

// ValidMachineID says whether an id has 32 hexadecimal digits, machine-id(5).
func ValidMachineID(id string) bool {
	for _, c := range []byte(id) {
		if !(c >= 'a' && c <= 'f' || c >= '0' && c <= '9') {
			return false
		}
	}
	return len(id) == 32
}
