package cgroup

import "testing"

func TestField(t *testing.T) {
	events := []byte("low 0\noom 3\noom_kill 12\noom_group_kill 0\n")
	for name, want := range map[string]uint64{"oom": 3, "oom_kill": 12, "oom_group_kill": 0} {
		if got, ok := field(events, name); !ok || got != want {
			t.Errorf("%s: %d, %v", name, got, ok)
		}
	}
	for _, text := range []string{"", "oom_kill", "oom_kill \n", "oom_kill x\n", "xoom_kill 1\n"} {
		if got, ok := field([]byte(text), "oom_kill"); ok {
			t.Errorf("%q gave %d", text, got)
		}
	}
}

func TestMeminfo(t *testing.T) {
	text := []byte("MemTotal:  230 kB\nNotMemAvailable: 1 kB\nMemAvailable:     123456 kB\n")
	if got := meminfo(text, "MemAvailable:"); got != 123456 {
		t.Error(got)
	}
	if got := meminfo(text, "MemNone:"); got != 0 {
		t.Error(got)
	}
}

func TestLeadingNumber(t *testing.T) {
	for text, want := range map[string][2]uint64{"": {0, 0}, "12\n3": {12, 2}, "max\n": {0, 0}} {
		if value, length := leadingNumber([]byte(text)); value != want[0] || uint64(length) != want[1] {
			t.Errorf("%q: %d, %d", text, value, length)
		}
	}
}
