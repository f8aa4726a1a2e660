package hooks

import (
	"bytes"
	"strings"
	"syscall"
	"time"
)

const (
	// maxOutput is how much of a hook's output is kept.
	maxOutput = 4096
	// lastWords is how long what a hook has written may take to be read once it has ended, while another holds its output.
	lastWords = 100 * time.Millisecond
)

// output is the beginning of what a hook writes; the rest is read and forgotten.
type output struct {
	writer int
	ended  chan struct{}
	kept   chan []byte // one, always the latest
}

func (r *runner) listen() *output {
	o := &output{writer: -1, ended: make(chan struct{}), kept: make(chan []byte, 1)}
	o.kept <- nil
	var fd [2]int
	if syscall.Pipe2(fd[:], syscall.O_CLOEXEC) != nil {
		close(o.ended)
		return o
	}
	o.writer = fd[1]
	r.open++
	go func() {
		o.read(fd[0])
		r.idle <- struct{}{}
	}()
	return o
}

func (o *output) read(fd int) {
	defer close(o.ended)
	defer syscall.Close(fd)
	room := make([]byte, maxOutput)
	for {
		n, err := syscall.Read(fd, room)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		kept := <-o.kept
		o.kept <- append(kept, room[:min(n, maxOutput-len(kept))]...)
	}
}

// lines are those of a hook that has ended.
func (o *output) lines() (lines []string) {
	select {
	case <-o.ended:
	case <-time.After(lastWords):
	}
	kept := <-o.kept
	o.kept <- kept
	for _, line := range bytes.Split(bytes.ReplaceAll(kept, []byte{0}, []byte("?")), []byte{0x0a}) {
		if len(line) > 0 {
			lines = append(lines, strings.ToValidUTF8(string(line[:min(len(line), maxLine)]), "\uFFFD"))
		}
	}
	return lines
}
