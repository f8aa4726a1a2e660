package files

import (
	"strings"
	"sync"
	"syscall"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/glob"
	"microsandbox/agent/internal/wire"
)

const (
	// maxEntries and maxPageBytes bound one page of a listing, maxLooks the entries looked at for it.
	maxEntries   = 512
	maxPageBytes = 160 << 10
	maxLooks     = 4096
	// maxDepth bounds the folders that are open at once.
	maxDepth = 512
)

// listing is a walk that stands still between two pages. What it keeps is one buffer of names per level, however many there are.
type listing struct {
	sync.Mutex
	root   string
	glob   string
	depth  int
	levels []level
}

// level is a folder that is being read.
type level struct {
	fd     int
	prefix string // of its entries, relative to the root: "" or "a/b/"
	names  []string
	buffer []byte
}

type found struct {
	path, target string
	st           syscall.Stat_t
}

func (l *listing) drop() {
	for _, one := range l.levels {
		syscall.Close(one.fd)
	}
	l.levels = nil
}

// list opens a listing.
func (r *request) list() *failure.Failure {
	path, fail := r.path("path")
	if fail != nil {
		return fail
	}
	depth, fail := r.number("depth", maxDepth, 1)
	if fail != nil {
		return fail
	}
	glob, _ := r.Get("glob").Bytes()
	if len(glob) > maxPath {
		return failure.New(failure.InvalidArgument, "glob: more than 4,096 bytes")
	}
	l := &listing{root: strings.TrimRight(path, "/") + "/", glob: string(glob), depth: int(depth)}
	if err := l.enter("", 0); err != nil {
		return cannot("list", path, err)
	}
	n, fail := r.server.handles.add(l)
	if fail == nil {
		r.reply = wire.AppendUint(r.key("handle"), n)
	}
	return fail
}

// enter begins to read a folder; prefix is "" or ends in a slash.
func (l *listing) enter(prefix string, noFollow int) error {
	path := l.root + prefix
	if noFollow != 0 {
		// With a slash at its end the kernel follows a link in spite of the flag.
		path = strings.TrimSuffix(path, "/")
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC|noFollow, 0)
	if err == nil {
		l.levels = append(l.levels, level{fd: fd, prefix: prefix, buffer: make([]byte, 32<<10)})
	}
	return err
}

// next gives the next page: entries, and done when there are no more.
func (r *request) next() *failure.Failure {
	n, _ := r.Get("handle").Uint()
	r.server.handles.Lock()
	l, ok := r.server.handles.open[n].(*listing)
	r.server.handles.Unlock()
	if !ok {
		return failure.New(failure.InvalidArgument, "no such open listing")
	}
	l.Lock()
	defer l.Unlock()
	var page []byte
	count := 0
	for looks := 0; count < maxEntries && looks < maxLooks && len(page) < maxPageBytes; looks++ {
		one, fail := l.step()
		if fail != nil {
			return fail
		}
		if one == nil {
			break
		}
		if l.glob != "" && !glob.Matches(l.glob, one.path) {
			continue
		}
		count++
		pairs := statPairs + 1
		if one.target != "" {
			pairs++
		}
		page = wire.AppendMap(page, pairs)
		page = wire.AppendBytes(wire.AppendText(page, "path"), []byte(one.path))
		page = appendFields(page, &one.st)
		if one.target != "" {
			page = wire.AppendBytes(wire.AppendText(page, "target"), []byte(one.target))
		}
	}
	r.reply = append(wire.AppendArray(r.key("entries"), count), page...)
	r.reply = wire.AppendBool(r.key("done"), len(l.levels) == 0)
	return nil
}

// step goes on to the next entry; nil: there is none.
func (l *listing) step() (*found, *failure.Failure) {
	for len(l.levels) > 0 {
		at := &l.levels[len(l.levels)-1]
		if len(at.names) == 0 {
			n, err := syscall.ReadDirent(at.fd, at.buffer)
			if err == syscall.ENOENT {
				n, err = 0, nil // the folder was removed meanwhile
			}
			if err != nil {
				return nil, cannot("list", l.root+at.prefix, err)
			}
			if n == 0 {
				syscall.Close(at.fd)
				l.levels = l.levels[:len(l.levels)-1]
				continue
			}
			_, _, at.names = syscall.ParseDirent(at.buffer[:n], -1, at.names[:0])
			continue
		}
		one := &found{path: at.prefix + at.names[0]}
		at.names = at.names[1:]
		if err := syscall.Lstat(l.root+one.path, &one.st); err == syscall.ENOENT {
			continue
		} else if err != nil {
			return nil, cannot("look at", l.root+one.path, err)
		}
		switch one.st.Mode & syscall.S_IFMT {
		case syscall.S_IFLNK:
			one.target, _ = readLink(l.root + one.path)
		case syscall.S_IFDIR:
			if len(l.levels) >= l.depth {
				break
			}
			// What became something else since is no folder to enter.
			err := l.enter(one.path+"/", syscall.O_NOFOLLOW)
			if err != nil && err != syscall.ENOENT && err != syscall.ENOTDIR && err != syscall.ELOOP {
				return nil, cannot("list", l.root+one.path, err)
			}
		}
		return one, nil
	}
	return nil, nil
}
