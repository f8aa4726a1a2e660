// Package argument reads what builtins are started with. Arguments are texts, paths are bytes: so they come in hexadecimal.
package argument

import (
	"strconv"
	"strings"

	"microsandbox/agent/internal/failure"
)

// maxPath is the kernel's bound.
const maxPath = 4096

// Path reads a path in hexadecimal: absolute, at most 4,095 bytes, without NUL.
func Path(text string) (string, error) {
	path, ok := Bytes(text)
	if !ok || path == "" || path[0] != '/' || len(path) >= maxPath || strings.IndexByte(path, 0) >= 0 {
		return "", failure.New(failure.InvalidArgument, "not an absolute path of at most 4,095 bytes: "+path)
	}
	return path, nil
}

// Bytes does as encoding/hex, which brings fmt along.
func Bytes(text string) (string, bool) {
	b := make([]byte, len(text)/2)
	for i := range b {
		n, err := strconv.ParseUint(text[2*i:2*i+2], 16, 8)
		if err != nil {
			return "", false
		}
		b[i] = byte(n)
	}
	return string(b), len(text)%2 == 0
}
