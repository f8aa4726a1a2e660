// Package owner finds the processes that sockets belong to: the kernel's tables of sockets (/proc/net) say which inode has the
// ports and addresses, and the descriptors of processes (/proc/*/fd) who has the inode. Nothing here waits for a disk, for a lock that a
// process may hold, or for a file system that a process serves, so that PID 1 may do it itself; that is why a process is called by
// its short name and not by its arguments, which lie in its own memory. Bounds: maxTable bytes of each table, maxLinks descriptors and
// maxProcesses processes, and the time that is given, which a guest of many processes uses up first: PID 1 has others to serve. What is
// beyond them has no owner.
package owner

import (
	"strconv"
	"syscall"
	"time"
)

const (
	// MaxFlows is how many may be asked about at once.
	MaxFlows     = 64
	maxTable     = 256 << 10
	maxLinks     = 4096
	maxProcesses = 4096
	self         = 1
)

// Flow is a connection of this machine, or datagrams that go out of one port.
type Flow struct {
	UDP     bool
	Local   uint16 // port
	Address []byte // of the other side, 4 or 16 bytes
	Port    uint16
}

// Owner is a process; its PID is 0 where none was found.
type Owner struct {
	PID     uint32
	Command string // as the kernel has it: at most 15 bytes, of any kind
}

// Find gives an owner for each flow that it finds one for in that time.
func Find(flows []Flow, patience time.Duration) []Owner {
	late := time.Now().Add(patience)
	owners := make([]Owner, len(flows))
	inodes := make([]inode, len(flows))
	for _, t := range [...]struct {
		path string
		udp  bool
	}{{"/proc/net/tcp", false}, {"/proc/net/tcp6", false}, {"/proc/net/udp", true}, {"/proc/net/udp6", true}} {
		if asks(flows, t.udp) {
			match(table(t.path), t.udp, flows, inodes)
		}
	}
	wanted := make(map[string][]int)
	for i, n := range inodes {
		if n.number != 0 {
			link := "socket:[" + strconv.FormatUint(n.number, 10) + "]"
			wanted[link] = append(wanted[link], i)
		}
	}
	if len(wanted) > 0 {
		search(wanted, owners, late)
	}
	return owners
}

func asks(flows []Flow, udp bool) bool {
	for _, f := range flows {
		if f.UDP == udp {
			return true
		}
	}
	return false
}

// search looks through the processes, the newest first, until nothing is wanted any more, or it is late.
func search(wanted map[string][]int, owners []Owner, late time.Time) {
	links := 0
	pids := numbers("/proc", maxProcesses)
	for i := len(pids) - 1; i >= 0 && len(wanted) > 0 && time.Now().Before(late); i-- {
		if pids[i] == self {
			continue
		}
		process := "/proc/" + strconv.FormatUint(uint64(pids[i]), 10)
		for _, fd := range numbers(process+"/fd", maxLinks) {
			if links++; links > maxLinks || links%64 == 0 && !time.Now().Before(late) {
				return
			}
			var target [64]byte
			n, err := syscall.Readlink(process+"/fd/"+strconv.FormatUint(uint64(fd), 10), target[:])
			if err != nil {
				continue
			}
			asked, ok := wanted[string(target[:n])]
			if !ok {
				continue
			}
			delete(wanted, string(target[:n]))
			for _, at := range asked {
				owners[at] = Owner{pids[i], name(process)}
			}
		}
	}
}

// numbers gives the names in a directory that are numbers, at most limit of them.
func numbers(path string, limit int) (found []uint32) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(fd)
	buffer := make([]byte, 8<<10)
	for {
		n, err := syscall.ReadDirent(fd, buffer)
		if err != nil || n <= 0 {
			return found
		}
		_, _, names := syscall.ParseDirent(buffer[:n], -1, nil)
		for _, each := range names {
			number, err := strconv.ParseUint(each, 10, 31)
			if err != nil {
				continue
			}
			if len(found) == limit {
				return found
			}
			found = append(found, uint32(number))
		}
	}
}

func name(process string) string {
	b := read(process+"/comm", make([]byte, 64))
	for i, c := range b {
		if c == '\n' {
			return string(b[:i])
		}
	}
	return string(b)
}

func table(path string) []byte { return read(path, make([]byte, maxTable)) }

// read fills the buffer with the beginning of a file. What the kernel makes up comes in pieces.
func read(path string, buffer []byte) []byte {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(fd)
	length := 0
	for length < len(buffer) {
		n, err := syscall.Read(fd, buffer[length:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		length += n
	}
	return buffer[:length]
}
