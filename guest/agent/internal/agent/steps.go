package agent

import (
	"time"

	"microsandbox/agent/internal/loop"
)

// steps are how long the parts of a setup or a restore took.
type steps struct {
	loop        *loop.Loop
	begin, last time.Duration
	list        []step
}

type step struct {
	name string
	took time.Duration
}

func newSteps(l *loop.Loop) *steps {
	now := l.Now()
	return &steps{loop: l, begin: now, last: now, list: make([]step, 0, 16)}
}

// mark says that the step of this name is done.
func (s *steps) mark(name string) {
	now := s.loop.Now()
	s.list = append(s.list, step{name, now - s.last})
	s.last = now
}
