package boot

import (
	"os"
	"strings"
	"time"
)

const (
	clockSource = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
	// The kernel takes its final clock source about a second after the boot; where it has no better one it never does.
	patience = 3 * time.Second
	// What else it put off (RCU, work queues, the journal's first commit) is done soon after.
	quiet = 700 * time.Millisecond
)

// Settle waits until the kernel has done what it puts off at boot. What is still to come when the state is stored comes
// again in every sandbox, in the middle of its first command: the change of the clock source alone stops the machine.
func Settle() {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		name, err := os.ReadFile(clockSource)
		if err != nil || !strings.HasPrefix(string(name), "tsc-early") {
			break
		}
	}
	time.Sleep(quiet)
}
