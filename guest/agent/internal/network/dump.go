package network

import (
	"errors"
	"syscall"
)

// maxDumped bounds how many messages of a list are read: more than a guest that works has of anything that is listed here.
const maxDumped = 1 << 17

// dump asks the kernel for a list and gives each of its messages, without their headers, to take. family is netlink's.
func dump(family int, kind uint16, body []byte, take func(message []byte)) error {
	fd, err := open(family)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	b := &batch{}
	b.begin("", kind, syscall.NLM_F_DUMP, body)
	if err := syscall.Sendto(fd, b.bytes, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	for count := 0; count < maxDumped; {
		n, err := read(fd, room[:])
		if err != nil {
			return err
		}
		got, done, err := list(room[:n], take)
		if err != nil || done {
			return err
		}
		if got == 0 {
			return errors.New("the kernel's list makes no sense")
		}
		count += got
	}
	return errors.New("the kernel's list has no end")
}

// list takes the messages of one read: how many there were, and whether the list is at its end.
func list(m []byte, take func([]byte)) (count int, done bool, err error) {
	for len(m) >= header {
		length := int(get32(m))
		if length < header || length > len(m) {
			return count, false, nil
		}
		switch m[4] {
		case syscall.NLMSG_DONE:
			return count, true, nil
		case syscall.NLMSG_ERROR:
			if length < header+4 {
				return count, false, nil
			}
			if errno := -int32(get32(m[header:])); errno != 0 {
				return count, true, syscall.Errno(errno)
			}
		default:
			take(m[header:length])
		}
		count++
		m = m[min((length+3)&^3, len(m)):]
	}
	return count, false, nil
}
