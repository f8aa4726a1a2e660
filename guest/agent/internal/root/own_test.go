package root

import (
	"os"
	"testing"
)

// What is missing at the root of whatever file system the test runs on; what is there, and what only a link leads to, is not.
func TestMissing(t *testing.T) {
	for path, missing := range map[string]bool{
		"/there-is-no-such-folder":        true,
		"/there-is-no-such-folder/a/b":    true,
		"/":                               false,
		"/proc/self/there-is-no-such":     false, // behind a mount and a link
		"/proc/self/cwd/there-is-no-such": false,
	} {
		if got := Missing(path); got != missing {
			t.Errorf("Missing(%q) = %v, want %v", path, got, missing)
		}
	}
	if _, err := os.Stat("/etc"); err == nil && Missing("/etc") {
		t.Error("/etc is there, and said to be missing")
	}
}
