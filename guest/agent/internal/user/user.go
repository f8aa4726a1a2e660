// Package user finds out as whom a process runs: numbers or names, looked up in the image's passwd and group
// files. Those are the image's, so hostile: what is no regular file, too long or malformed is treated as not there.
package user

import (
	"strconv"
	"strings"
	"syscall"

	"microsandbox/agent/internal/failure"
)

// maxFile is how much of a passwd or group file is read.
const maxFile = 1 << 20

// Identity is what a process runs as.
type Identity struct {
	UID, GID int
	Groups   []uint32
	Home     string
}

// Files are the two files' contents.
type Files struct{ Passwd, Group string }

// Load reads the files below etc, usually "/etc".
func Load(etc string) Files {
	return Files{read(etc + "/passwd"), read(etc + "/group")}
}

func read(path string) string {
	// Without O_NONBLOCK a fifo in the file's place would stop the agent.
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	if syscall.Fstat(fd, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return ""
	}
	b := make([]byte, min(max(st.Size, 0)+1, maxFile))
	n := 0
	for n < len(b) {
		m, err := syscall.Read(fd, b[n:])
		if err == syscall.EINTR {
			continue
		}
		if m <= 0 {
			break
		}
		n += m
	}
	return string(b[:n])
}

// Find resolves "", "name", "uid", "name:group" or "uid:gid". A number that passwd does not know is a user without
// a name whose group is 0, as with other container tools.
func (f Files) Find(spec string) (Identity, *failure.Failure) {
	name, group, explicit := strings.Cut(spec, ":")
	if name == "" {
		if explicit {
			return Identity{}, unknown("user", spec)
		}
		name = "0"
	}
	id := Identity{}
	uid, numeric := number(name)
	login, found := f.passwd(func(e entry) bool {
		if numeric {
			return e.uid == uid
		}
		return e.name == name
	})
	switch {
	case found:
		id.UID, id.GID, id.Home = login.uid, login.gid, login.home
	case numeric:
		id.UID = uid
	default:
		return Identity{}, unknown("user", name)
	}
	if id.Home == "" {
		id.Home = "/"
		if id.UID == 0 {
			id.Home = "/root"
		}
	}
	if explicit {
		gid, ok := f.gid(group)
		if !ok {
			return Identity{}, unknown("group", group)
		}
		id.GID = gid
	} else if found && spec != "" {
		id.Groups = f.groups(login.name, id.GID)
	}
	return id, nil
}

func unknown(what, name string) *failure.Failure {
	e := failure.Cannot(126, failure.InvalidArgument, "no such "+what+": "+name)
	e.Hint = "use a name from the image's /etc/passwd and /etc/group, or a number"
	return e
}

// number reads an id. 2^32−1 means "no change" to the kernel and is none.
func number(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return int(n), err == nil && n != 1<<32-1
}

type entry struct {
	name     string
	uid, gid int
	home     string
}

// passwd returns the first well-formed entry that matches: passwd(5), name:password:uid:gid:comment:home:shell.
func (f Files) passwd(match func(entry) bool) (entry, bool) {
	var field [7]string
	for rest := f.Passwd; rest != ""; {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if !split(line, field[:]) {
			continue
		}
		uid, ok1 := number(field[2])
		gid, ok2 := number(field[3])
		if e := (entry{field[0], uid, gid, field[5]}); ok1 && ok2 && e.name != "" && match(e) {
			if !strings.HasPrefix(e.home, "/") || strings.IndexByte(e.home, 0) >= 0 {
				e.home = ""
			}
			return e, true
		}
	}
	return entry{}, false
}

// eachGroup calls do with every well-formed group: group(5), name:password:gid:member,member.
func (f Files) eachGroup(do func(name string, gid int, members string) bool) {
	var field [4]string
	for rest := f.Group; rest != ""; {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if !split(line, field[:]) || field[0] == "" {
			continue
		}
		if gid, ok := number(field[2]); ok && !do(field[0], gid, field[3]) {
			return
		}
	}
}

// GroupID finds a group's number by its name; a number is one itself.
func (f Files) GroupID(group string) (gid int, ok bool) { return f.gid(group) }

func (f Files) gid(group string) (gid int, ok bool) {
	if gid, ok = number(group); ok {
		return gid, true
	}
	f.eachGroup(func(name string, g int, _ string) bool {
		if name == group {
			gid, ok = g, true
		}
		return !ok
	})
	return gid, ok
}

// maxGroups is the kernel's bound, NGROUPS_MAX.
const maxGroups = 65536

func (f Files) groups(user string, primary int) []uint32 {
	list := []uint32{uint32(primary)}
	f.eachGroup(func(_ string, gid int, members string) bool {
		for members != "" {
			var member string
			member, members, _ = strings.Cut(members, ",")
			if member == user && gid != primary {
				list = append(list, uint32(gid))
				break
			}
		}
		return len(list) < maxGroups
	})
	return list
}

// split cuts a line into exactly len(field) fields.
func split(line string, field []string) bool {
	for i := range field {
		var more bool
		field[i], line, more = strings.Cut(line, ":")
		if more != (i < len(field)-1) {
			return false
		}
	}
	return true
}
