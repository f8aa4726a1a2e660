package files

import (
	"strings"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/wire"
)

// request is one message, and its reply as it grows.
type request struct {
	wire.Item
	server *server
	reply  []byte
	pairs  int
}

var operations = map[string]func(*request) *failure.Failure{
	"open": (*request).openFile, "read": (*request).read, "write": (*request).write, "close": (*request).close,
	"list": (*request).list, "next": (*request).next,
	"stat": (*request).stat, "lstat": (*request).lstat, "readlink": (*request).readlink,
	"mkdir": (*request).mkdir, "remove": (*request).remove, "rename": (*request).rename, "copy": (*request).copy,
	"symlink": (*request).symlink, "chmod": (*request).chmod, "chown": (*request).chown, "utimes": (*request).utimes,
	"truncate": (*request).truncate, "usage": (*request).usage,
}

func (r *request) do() *failure.Failure {
	op, _ := r.Get("op").Text()
	do := operations[op]
	if do == nil {
		return failure.New(failure.Unsupported, "this guest agent knows no such operation on files")
	}
	return do(r)
}

// key begins a pair of the reply.
func (r *request) key(name string) []byte {
	r.pairs++
	return wire.AppendText(r.reply, name)
}

// path is a field that names a file: absolute, without a NUL.
func (r *request) path(key string) (string, *failure.Failure) {
	b, ok := r.Get(key).Bytes()
	path := string(b)
	if !ok || path == "" || len(path) >= maxPath || path[0] != '/' || strings.IndexByte(path, 0) >= 0 {
		return "", failure.New(failure.InvalidArgument, key+": not an absolute path of at most 4,095 bytes: "+path)
	}
	return path, nil
}

func (r *request) flag(key string) bool { return r.Get(key).True() }

// number is an unsigned field of at most max; absent: otherwise.
func (r *request) number(key string, max, otherwise uint64) (uint64, *failure.Failure) {
	item := r.Get(key)
	if item.Kind() == wire.Absent || item.Kind() == wire.Null {
		return otherwise, nil
	}
	n, ok := item.Uint()
	if !ok || n > max {
		return 0, failure.New(failure.InvalidArgument, key+": not a number within its bounds")
	}
	return n, nil
}

// cannot says what failed with which file, or nil if nothing did.
func cannot(what, path string, err error) *failure.Failure {
	if err == nil {
		return nil
	}
	return failure.Of("cannot "+what+" "+path, err)
}

// valid makes a text of what may hold a name that is not UTF-8, bounded so that a message holds it.
func valid(text string) string {
	const most = 8192
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
