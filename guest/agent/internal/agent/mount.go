package agent

import (
	"strings"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/root"
	"microsandbox/agent/internal/wire"
)

// mount adds a volume or a tmpfs to the sandbox's root.
func (a *Agent) mount(id uint64, m wire.Item) {
	if a.phase != running {
		a.replyError(id, failure.New(failure.InvalidState, "mount: the sandbox is not set up, or shutting down"))
		return
	}
	options, fail := parseMount(m)
	if fail == nil {
		fail = a.vm.Mount(options)
	}
	if fail != nil {
		a.replyError(id, fail)
		return
	}
	a.link.End(a.reply(id, 0))
}

func parseMount(m wire.Item) (o root.Mount, fail *failure.Failure) {
	bad := func(message string) (root.Mount, *failure.Failure) {
		return o, failure.New(failure.InvalidArgument, "mount: "+message)
	}
	var ok bool
	if o.Target, ok = m.Get("target").Text(); !ok || !validTarget(o.Target) {
		return bad("target must be an absolute path, and not /")
	}
	if o.Size, ok = m.Get("size").Uint(); !ok || o.Size > 1<<62 {
		return bad("size must be a number of bytes")
	}
	switch kind := m.Get("type"); {
	case kind.Is("tmpfs"):
		if o.Mode, ok = m.Get("mode").Uint(); !ok || o.Mode > 0o7777 {
			return bad("mode must be the mode of a folder")
		}
		if o.Size == 0 { // the kernel would take it for no limit
			return bad("a tmpfs must have a size")
		}
	case kind.Is("volume"):
		if o.Disk, ok = m.Get("disk").Text(); !ok || !strings.HasPrefix(o.Disk, "volume") {
			return bad("disk must be a volume's serial")
		}
		o.ReadOnly = m.Get("read_only").True()
		o.DirSync = m.Get("dir_sync").True()
	default:
		name, _ := kind.Text()
		return o, failure.New(failure.Unsupported, "the guest agent has no mounts of type \""+name+"\"")
	}
	return o, nil
}

func validTarget(path string) bool {
	return len(path) > 1 && len(path) <= 4096 && path[0] == '/' && strings.IndexByte(path, 0) < 0
}
