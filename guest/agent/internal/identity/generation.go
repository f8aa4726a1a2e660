package identity

import (
	"strconv"
	"syscall"

	"microsandbox/agent/internal/failure"
)

// The generation is a file in the sandbox that says how many restores led to it: a program that must not act as its copy does
// watches it. It is made before the template is stored, and written in place, so that whoever maps or watches it sees it.

const (
	generationFolder = "/run/microsandbox"
	generationFile   = generationFolder + "/generation"
)

// Generation is the file's descriptor: it leads there whatever the sandbox mounts over it.
type Generation int

// OpenGeneration makes the file, of generation 0.
func OpenGeneration() (Generation, error) {
	if err := syscall.Mkdir(generationFolder, 0o755); err != nil && err != syscall.EEXIST {
		return -1, err
	}
	fd, err := syscall.Open(generationFile, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return -1, err
	}
	_, err = syscall.Pwrite(fd, []byte("0\n"), 0)
	return Generation(fd), err
}

// Set writes the generation.
func (g Generation) Set(n uint64) *failure.Failure {
	text := strconv.FormatUint(n, 10) + "\n"
	if _, err := syscall.Pwrite(int(g), []byte(text), 0); err != nil {
		return failure.New(failure.Internal, failure.Describe("write "+generationFile, err))
	}
	var st syscall.Stat_t
	if syscall.Fstat(int(g), &st) == nil && st.Size > int64(len(text)) {
		_ = syscall.Ftruncate(int(g), int64(len(text))) // a lower one than before
	}
	return nil
}
