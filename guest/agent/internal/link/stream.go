package link

// Source has something to send: a process's stream.
type Source interface {
	// Emit appends at most one data frame with up to room bytes of payload, and what follows its end; more says
	// whether it has another frame to send.
	Emit(out []byte, room int) (_ []byte, more bool)
}

// Stream is a source's place in the queue. Each stream is in it at most once, takes one frame and goes to the back:
// that is all the fairness there is to it.
type Stream struct {
	source Source
	next   *Stream
	queued bool
}

// NewStream makes a stream that is not queued.
func NewStream(source Source) *Stream { return &Stream{source: source} }

// Wake says that the stream has something to send.
func (k *Link) Wake(s *Stream) {
	if k.open && !s.queued {
		k.push(s)
	}
}

// Forget takes a stream out of the queue for good.
func (k *Link) Forget(s *Stream) {
	if !s.queued {
		return
	}
	for p := &k.head; *p != nil; p = &(*p).next {
		if *p == s {
			*p = s.next
			break
		}
	}
	k.tail = k.head
	for k.tail != nil && k.tail.next != nil {
		k.tail = k.tail.next
	}
	s.next, s.queued = nil, false
}

func (k *Link) push(s *Stream) {
	s.queued, s.next = true, nil
	if k.tail == nil {
		k.head = s
	} else {
		k.tail.next = s
	}
	k.tail = s
}

func (k *Link) pop() *Stream {
	s := k.head
	k.head = s.next
	if k.head == nil {
		k.tail = nil
	}
	s.next, s.queued = nil, false
	return s
}

func (k *Link) clearStreams() {
	for k.head != nil {
		k.pop()
	}
}
