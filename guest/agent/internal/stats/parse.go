package stats

// words walks the words of one line.
type words struct{ rest []byte }

func (w *words) next() []byte {
	for len(w.rest) > 0 && (w.rest[0] == ' ' || w.rest[0] == '\t') {
		w.rest = w.rest[1:]
	}
	end := 0
	for end < len(w.rest) && w.rest[end] != ' ' && w.rest[end] != '\t' {
		end++
	}
	word := w.rest[:end]
	w.rest = w.rest[end:]
	return word
}

func (w *words) number() uint64 { return number(w.next()) }

func number(b []byte) (value uint64) {
	for _, c := range b {
		if c < '0' || c > '9' || value > 1<<58 {
			break
		}
		value = value*10 + uint64(c-'0')
	}
	return value
}

// line cuts the first line off.
func line(b []byte) (first, rest []byte) {
	for i, c := range b {
		if c == '\n' {
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

// cpu adds up "cpu user nice system idle iowait irq softirq …" without what was idle.
func cpu(b []byte) uint64 {
	first, _ := line(b)
	w := words{first}
	if string(w.next()) != "cpu" {
		return 0
	}
	busy := w.number() + w.number() + w.number()
	w.next() // idle
	w.next() // iowait
	return (busy + w.number() + w.number()) * tick
}

func memory(b []byte) (m Memory) {
	for len(b) > 0 {
		var l []byte
		l, b = line(b)
		w := words{l}
		switch string(w.next()) {
		case "MemTotal:":
			m.Total = w.number() << 10
		case "MemAvailable:":
			m.Available = w.number() << 10
		case "Buffers:", "Cached:", "SReclaimable:":
			m.Cache += w.number() << 10
		}
	}
	return m
}

// network adds up "name: bytes packets errs drop fifo frame compressed multicast bytes …".
func network(b []byte) (received, sent uint64) {
	for len(b) > 0 {
		var l []byte
		l, b = line(b)
		w := words{l}
		name := w.next()
		if len(name) == 0 || name[len(name)-1] != ':' || string(name) == "lo:" {
			continue
		}
		received += w.number()
		for range 7 {
			w.next()
		}
		sent += w.number()
	}
	return received, sent
}

// pressure reads "some avg10=0.12 avg60=0.00 avg300=0.00 total=345" and the same of "full".
func pressure(b []byte) (p Pressure) {
	for len(b) > 0 {
		var l []byte
		l, b = line(b)
		w := words{l}
		stall := &p.Some
		if string(w.next()) == "full" {
			stall = &p.Full
		}
		for word := w.next(); len(word) > 0; word = w.next() {
			if value, ok := cut(word, "avg10="); ok {
				stall.Recent = hundredths(value)
			} else if value, ok := cut(word, "total="); ok {
				stall.Total = number(value)
			}
		}
	}
	return p
}

func cut(word []byte, name string) ([]byte, bool) {
	if len(word) < len(name) || string(word[:len(name)]) != name {
		return nil, false
	}
	return word[len(name):], true
}

// hundredths reads a number with two decimals.
func hundredths(b []byte) uint64 {
	for i, c := range b {
		if c == '.' {
			return number(b[:i])*100 + number(b[i+1:])
		}
	}
	return number(b) * 100
}
