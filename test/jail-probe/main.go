// The jail's probe: takes QEMU's place in the jail and tries what an owned VMM would try. It prints one JSON object that
// says of each attempt whether it went through. Static and without cgo, so that the jail needs nothing for it.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// What the test has laid out on the host for the probe to find.
type targets struct {
	// A TCP listener, host:port.
	TCP string
	// An abstract unix socket (without the leading NUL) and one with a path.
	Abstract, Socket string
	// A process that may be signalled and traced.
	Pid int
	// Files of the host that nobody but the test should read.
	Secrets []string
	// Folders that must be read-only.
	ReadOnly []string
	// The one folder that is the machine's own.
	Writable string
	// Above the limits of the jail.
	FileBytes, AddressSpace int64
	Descriptors             int
}

type report struct {
	// Attempts that went through: nil; that failed: the error's words.
	Attempts   map[string]*string `json:"attempts"`
	UID        int                `json:"uid"`
	GID        int                `json:"gid"`
	Groups     []int              `json:"groups"`
	Pid        int                `json:"pid"`
	Hostname   string             `json:"hostname"`
	Env        []string           `json:"env"`
	Fds        []int              `json:"fds"`
	Root       []string           `json:"root"`
	Interfaces []string           `json:"interfaces"`
	Processes  []int              `json:"processes"`
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == nothing {
		return
	}
	// Before anything else: what Go itself opens later is not inherited.
	fds := openDescriptors()
	signal.Ignore(syscall.SIGXFSZ)
	var t targets
	if err := json.Unmarshal([]byte(os.Args[1]), &t); err != nil {
		panic(err)
	}
	hostname, _ := os.Hostname()
	groups, _ := os.Getgroups()
	r := report{
		Attempts: map[string]*string{}, Fds: fds, Env: os.Environ(), Hostname: hostname,
		UID: os.Getuid(), GID: os.Getgid(), Groups: groups, Pid: os.Getpid(),
		Root: list("/"), Interfaces: interfaces(), Processes: otherProcesses(),
	}
	for _, a := range attempts(t, hostname) {
		if err := a.try(); err != nil {
			words := err.Error()
			r.Attempts[a.name] = &words
		} else {
			r.Attempts[a.name] = nil
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		panic(err)
	}
}

func openDescriptors() []int {
	fds := []int{}
	var stat syscall.Stat_t
	for fd := 0; fd < 1024; fd++ {
		if syscall.Fstat(fd, &stat) == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

func list(folder string) []string {
	names := []string{}
	entries, _ := os.ReadDir(folder)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func interfaces() []string {
	names := []string{}
	all, _ := net.Interfaces()
	for _, one := range all {
		names = append(names, one.Name)
	}
	return names
}

// Every process of the pid namespace but this one, found by asking, since there is no /proc.
func otherProcesses() []int {
	pids := []int{}
	for pid := 1; pid < 100_000 && len(pids) < 10; pid++ {
		if syscall.Kill(pid, 0) == syscall.ESRCH {
			continue
		}
		_, _, notOurs := syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(pid), 0)
		if notOurs != 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

type attempt struct {
	name string
	try  func() error
}

func attempts(t targets, hostname string) []attempt {
	all := []attempt{
		{"connect tcp", dial("tcp", t.TCP)},
		{"connect abstract socket", dial("unix", "@"+t.Abstract)},
		{"connect socket", dial("unix", t.Socket)},
		{"signal a process", func() error { return syscall.Kill(t.Pid, 0) }},
		{"trace a process", func() error { return trace(t.Pid) }},
		// To what it is: nothing changes where it works.
		{"set the hostname", func() error { return syscall.Sethostname([]byte(hostname)) }},
		{"make a device", func() error { return makeDevice(t.Writable) }},
		{"mount", func() error { return mount(t.Writable) }},
		{"chroot", func() error { return syscall.Chroot("/") }},
		{"new user namespace", childIn(syscall.CLONE_NEWUSER)},
		{"new mount namespace", childIn(syscall.CLONE_NEWNS)},
		{"open by handle", openByHandle},
		{"raw socket", socket(syscall.AF_INET, syscall.SOCK_RAW, syscall.IPPROTO_ICMP)},
		{"packet socket", socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0)},
		{"open /dev/kvm", open("/dev/kvm", syscall.O_RDWR)},
		{"open /dev/null", open("/dev/null", syscall.O_RDWR)},
		{"large file", func() error { return writeFile(t.Writable+"/large", t.FileBytes) }},
		{"large mapping", func() error { return reserve(t.AddressSpace) }},
		{"many descriptors", func() error { return openMany(t.Descriptors) }},
		{"raise limits", raiseLimits},
		// Last, since whoever can do them has become another.
		{"become a group", func() error { return syscall.Setgid(0) }},
		{"become root", func() error { return syscall.Setuid(0) }},
	}
	for _, path := range []string{"/etc/passwd", "/proc/self/status", "/sys/kernel", "/root", "/home", "/bin/sh"} {
		all = append(all, attempt{"read " + path, open(path, syscall.O_RDONLY)})
	}
	for _, path := range t.Secrets {
		all = append(all, attempt{"read " + path, open(path, syscall.O_RDONLY)})
	}
	for _, folder := range t.ReadOnly {
		all = append(all,
			attempt{"create in " + folder, func() error { return create(folder) }},
			attempt{"write in " + folder, func() error { return writeToFirst(folder) }},
			attempt{"change mode of " + folder, func() error { return syscall.Chmod(folder, 0o755) }},
			attempt{"remount " + folder, func() error {
				return syscall.Mount("", folder, "", syscall.MS_REMOUNT|syscall.MS_BIND, "")
			}},
		)
	}
	return all
}

func dial(network, address string) func() error {
	return func() error {
		connection, err := net.DialTimeout(network, address, 2*time.Second)
		if err == nil {
			connection.Close()
		}
		return err
	}
}

func open(path string, flags int) func() error {
	return func() error {
		fd, err := syscall.Open(path, flags, 0)
		if err == nil {
			syscall.Close(fd)
		}
		return err
	}
}

// What the probe does as its own child.
const nothing = "nothing"

// A namespace of users can only be made by a process of one thread, which no Go program is: so for a child.
func childIn(namespace uintptr) func() error {
	return func() error {
		pid, err := syscall.ForkExec(os.Args[0], []string{os.Args[0], nothing},
			&syscall.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: namespace}})
		if err != nil {
			return err
		}
		var status syscall.WaitStatus
		_, err = syscall.Wait4(pid, &status, 0, nil)
		return err
	}
}

func socket(domain, kind, protocol int) func() error {
	return func() error {
		fd, err := syscall.Socket(domain, kind, protocol)
		if err == nil {
			syscall.Close(fd)
		}
		return err
	}
}

func trace(pid int) error {
	// A tracer is a thread, not a process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.PtraceAttach(pid); err != nil {
		return err
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		return err
	}
	return syscall.PtraceDetach(pid)
}

func makeDevice(folder string) error {
	path := folder + "/device"
	defer os.Remove(path)
	if err := syscall.Mknod(path, syscall.S_IFCHR|0o600, 1<<8|3); err != nil {
		return err
	}
	return open(path, syscall.O_RDWR)()
}

func mount(folder string) error {
	if err := syscall.Mount("none", folder, "tmpfs", 0, ""); err != nil {
		return err
	}
	return syscall.Unmount(folder, syscall.MNT_DETACH)
}

// As the container escape of 2014 ("shocker"): a handle names a file of the whole file system, whatever the root is.
func openByHandle() error {
	handle := struct {
		bytes uint32
		kind  int32
		data  [128]byte
	}{bytes: 128}
	var mountID int32
	root, _ := syscall.BytePtrFromString("/")
	const nameToHandleAt, openByHandleAt, cwd = 303, 304, -100
	at := cwd
	if _, _, errno := syscall.Syscall6(nameToHandleAt, uintptr(at), uintptr(unsafe.Pointer(root)),
		uintptr(unsafe.Pointer(&handle)), uintptr(unsafe.Pointer(&mountID)), 0, 0); errno != 0 {
		return errno
	}
	fd, err := syscall.Open("/", syscall.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	opened, _, errno := syscall.Syscall(openByHandleAt, uintptr(fd), uintptr(unsafe.Pointer(&handle)), syscall.O_RDONLY)
	if errno != 0 {
		return errno
	}
	return syscall.Close(int(opened))
}

// A file that begins with a hole still has a size, which is what the limit bounds.
func writeFile(path string, size int64) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	defer file.Close()
	_, err = file.WriteAt([]byte{1}, size)
	return err
}

func reserve(size int64) error {
	address, _, errno := syscall.Syscall6(syscall.SYS_MMAP, 0, uintptr(size), syscall.PROT_NONE,
		syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS|syscall.MAP_NORESERVE, ^uintptr(0), 0)
	if errno != 0 {
		return errno
	}
	syscall.Syscall(syscall.SYS_MUNMAP, address, uintptr(size), 0)
	return nil
}

func openMany(count int) error {
	var opened []int
	defer func() {
		for _, fd := range opened {
			syscall.Close(fd)
		}
	}()
	for len(opened) < count {
		fd, err := syscall.Open("/", syscall.O_RDONLY, 0)
		if err != nil {
			return err
		}
		opened = append(opened, fd)
	}
	return nil
}

func raiseLimits() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	limit.Cur, limit.Max = ^uint64(0), ^uint64(0)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
}

func create(folder string) error {
	path := folder + "/probe"
	fd, err := syscall.Open(path, syscall.O_CREAT|syscall.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	syscall.Close(fd)
	return os.Remove(path)
}

func writeToFirst(folder string) error {
	for _, name := range list(folder) {
		if info, err := os.Lstat(folder + "/" + name); err == nil && info.Mode().IsRegular() {
			return open(folder+"/"+name, syscall.O_WRONLY)()
		}
	}
	return fmt.Errorf("no file in %s", folder)
}
