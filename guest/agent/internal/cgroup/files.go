package cgroup

import (
	"strconv"
	"syscall"
)

const syscallCWD = -100 // AT_FDCWD

func open(dir int, name string, flags int) (int, error) {
	return syscall.Openat(dir, name, flags|syscall.O_CLOEXEC, 0)
}

func write(dir int, name, value string) error {
	fd, err := open(dir, name, syscall.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = syscall.Write(fd, []byte(value))
	_ = syscall.Close(fd)
	return err
}

func number(n uint64) string {
	if n == 0 {
		return "max"
	}
	return strconv.FormatUint(n, 10)
}

// leadingNumber reads decimal digits and tells how many there were.
func leadingNumber(b []byte) (value uint64, length int) {
	for length < len(b) && length < 19 && b[length] >= '0' && b[length] <= '9' {
		value = value*10 + uint64(b[length]-'0')
		length++
	}
	return value, length
}

// field reads the number behind a name in a file of "name number" lines.
func field(b []byte, name string) (uint64, bool) {
	for len(b) > 0 {
		end := 0
		for end < len(b) && b[end] != '\n' {
			end++
		}
		if end > len(name) && string(b[:len(name)]) == name && b[len(name)] == ' ' {
			value, length := leadingNumber(b[len(name)+1 : end])
			return value, length > 0
		}
		b = b[min(end+1, len(b)):]
	}
	return 0, false
}
