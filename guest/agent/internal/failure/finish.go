package failure

import "os"

// Finish runs a builtin and returns its exit code; what goes wrong is on stderr as "code: message".
func Finish(do func() error) int {
	err := do()
	if err == nil {
		return 0
	}
	code := Internal
	if fail, ok := err.(*Failure); ok {
		code = fail.Code
	}
	os.Stderr.WriteString(code + ": " + err.Error() + "\n")
	return 1
}
