// Package monitor keeps the Go runtime's own thread, sysmon, from running all the time.
//
// Sysmon looks every 20 µs whether a thread is in a system call for long, and takes its processor away. The agent's thread waits in
// one between any two messages, so sysmon was awake with every message: of the 23 changes of context that a request for a file of
// a host folder took, 9 were sysmon's, twice over (in PID 1 and in the relay). There is no setting for it, but its
// sleeps are a thread's, and the kernel may be told how exact a thread's sleeps have to be.
package monitor

import (
	"os"
	"strconv"
)

// slack is how much later than asked for the runtime's threads may wake from a sleep (proc(5), timerslack_ns). What is left to sysmon: that
// a goroutine that computes for so long lets others run. Nothing here waits for that.
const slack = "100000000"

// Quieten is to be called once, early, with /proc mounted. The program's first thread stays as it is: it waits for timers. Without
// all this everything works, slower.
func Quieten() {
	first := strconv.Itoa(os.Getpid())
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, thread := range threads {
		if thread.Name() != first {
			_ = os.WriteFile("/proc/"+thread.Name()+"/timerslack_ns", []byte(slack), 0)
		}
	}
}
