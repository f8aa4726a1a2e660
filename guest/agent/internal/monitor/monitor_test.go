package monitor

import (
	"os"
	"strconv"
	"testing"
)

func TestTheRuntimesThreadsSleepLonger(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, as PID 1 has it")
	}
	before, err := os.ReadFile("/proc/self/timerslack_ns")
	if err != nil {
		t.Skip("this kernel does not say: " + err.Error())
	}
	Quieten()
	first := strconv.Itoa(os.Getpid())
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for _, thread := range threads {
		got, err := os.ReadFile("/proc/" + thread.Name() + "/timerslack_ns")
		switch {
		case err != nil: // it has ended
		case thread.Name() == first && string(got) != string(before):
			t.Errorf("the first thread has %s", got)
		case string(got) == slack+"\n":
			changed++
		}
	}
	if changed == 0 {
		t.Error("no thread was told")
	}
}
