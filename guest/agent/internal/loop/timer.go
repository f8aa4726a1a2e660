package loop

import "time"

// Timer calls its function once. Few are armed at any time, so a list beats a heap.
type Timer struct {
	at    time.Duration
	armed bool
	f     func()
}

// NewTimer makes a timer that is not armed.
func NewTimer(f func()) *Timer { return &Timer{f: f} }

// Arm lets t fire after d, instead of when it would have fired before.
func (l *Loop) Arm(t *Timer, d time.Duration) {
	t.at = l.Now() + d
	if !t.armed {
		t.armed = true
		l.timers = append(l.timers, t)
	}
}

// Disarm lets t not fire.
func (l *Loop) Disarm(t *Timer) {
	if !t.armed {
		return
	}
	t.armed = false
	for i, other := range l.timers {
		if other == t {
			last := len(l.timers) - 1
			l.timers[i] = l.timers[last]
			l.timers[last] = nil
			l.timers = l.timers[:last]
			return
		}
	}
}

func (l *Loop) fire() {
	now := l.Now()
	for i := 0; i < len(l.timers); {
		t := l.timers[i]
		if t.at > now {
			i++
			continue
		}
		l.Disarm(t)
		t.f()
		// The function may have armed and disarmed others: look again from the start.
		i = 0
	}
}
