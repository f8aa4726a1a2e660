package agent

import (
	"slices"
	"testing"

	"microsandbox/agent/internal/root"
	"microsandbox/agent/internal/wire"
)

// field is a key and its value.
type field [2]any

func (h *host) mount(fields ...field) wire.Item {
	h.t.Helper()
	var list []any
	for _, f := range fields {
		list = append(list, f[0], f[1])
	}
	return h.request("mount", list...)
}

func TestMount(t *testing.T) {
	h := newSilentHost(t)
	h.hello(false)
	tmpfs := []field{{"type", "tmpfs"}, {"target", "/scratch"}, {"size", uint64(1 << 20)}, {"mode", uint64(0o1777)}}
	if !h.mount(tmpfs...).Get("error").Get("code").Is("invalid_state") {
		t.Fatal("a mount before setup")
	}
	h.setup()
	if fail := h.mount(tmpfs...).Get("error"); fail.Kind() != wire.Absent {
		t.Fatal("a tmpfs was refused")
	}
	volume := []field{{"type", "volume"}, {"target", "/data"}, {"size", uint64(1 << 32)}, {"disk", "volume3"}, {"read_only", true}}
	synced := []field{{"type", "volume"}, {"target", "/db"}, {"size", uint64(1 << 32)}, {"disk", "volume4"}, {"dir_sync", true}}
	if fail := h.mount(volume...).Get("error"); fail.Kind() != wire.Absent {
		t.Fatal("a volume was refused")
	}
	if fail := h.mount(synced...).Get("error"); fail.Kind() != wire.Absent {
		t.Fatal("a volume with dir_sync was refused")
	}
	want := []root.Mount{
		{Target: "/scratch", Size: 1 << 20, Mode: 0o1777},
		{Target: "/data", Disk: "volume3", ReadOnly: true, Size: 1 << 32},
		{Target: "/db", Disk: "volume4", DirSync: true, Size: 1 << 32},
	}
	if !slices.Equal(h.vm.mounts, want) {
		t.Fatalf("mounted %+v", h.vm.mounts)
	}
	for name, change := range map[string]field{
		"the root":          {"target", "/"},
		"a relative path":   {"target", "data"},
		"a NUL":             {"target", "/a\x00b"},
		"no number":         {"size", "1G"},
		"no size":           {"size", uint64(0)},
		"no mode":           {"mode", uint64(0o10000)},
		"another file type": {"type", "nfs"},
		"no disk":           {"type", "volume"},
	} {
		changed := make([]field, len(tmpfs))
		for i, p := range tmpfs {
			if p[0] == change[0] {
				p = change
			}
			changed[i] = p
		}
		code := h.mount(changed...).Get("error").Get("code")
		if !code.Is("invalid_argument") && !(name == "another file type" && code.Is("unsupported")) {
			t.Errorf("%s was not refused", name)
		}
	}
	if len(h.vm.mounts) != len(want) {
		t.Error("what was refused was mounted")
	}
}
