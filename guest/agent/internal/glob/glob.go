// Package glob matches names of the sandbox with the patterns of its host.
package glob

import "strings"

// Matches says whether a path that is relative to the listed folder fits a pattern: * and ? stay within a name, ** goes through any
// number of folders, [a-z] and [!a-z] are one byte of a set, \ takes the next byte as it is. A pattern without a slash is about the
// last name alone. The time is bounded by the product of the two lengths: every state is visited once.
func Matches(pattern, path string) bool {
	if !strings.Contains(pattern, "/") {
		path = path[strings.LastIndexByte(path, '/')+1:]
	}
	m := matcher{pattern: pattern, path: path, seen: make(map[[2]int]bool)}
	return m.from(0, 0)
}

type matcher struct {
	pattern, path string
	// seen are the places that were tried after a star, in vain.
	seen map[[2]int]bool
}

func (m *matcher) from(p, i int) bool {
	for p < len(m.pattern) {
		switch c := m.pattern[p]; {
		case c == '*':
			return m.star(p, i)
		case i >= len(m.path):
			return false
		case c == '?':
			if m.path[i] == '/' {
				return false
			}
			p++
		case c == '[':
			end, in := m.set(p, m.path[i])
			if !in {
				return false
			}
			p = end
		default:
			if c == '\\' && p+1 < len(m.pattern) {
				p++
			}
			if m.pattern[p] != m.path[i] {
				return false
			}
			p++
		}
		i++
	}
	return i == len(m.path)
}

func (m *matcher) star(p, i int) bool {
	if m.seen[[2]int{p, i}] {
		return false
	}
	m.seen[[2]int{p, i}] = true
	deep := strings.HasPrefix(m.pattern[p:], "**")
	rest := p + 1
	if deep {
		rest++
		// "**/" stands for no folder, too.
		if strings.HasPrefix(m.pattern[rest:], "/") && (i == 0 || m.path[i-1] == '/') && m.from(rest+1, i) {
			return true
		}
	}
	for ; ; i++ {
		if m.from(rest, i) {
			return true
		}
		if i >= len(m.path) || !deep && m.path[i] == '/' {
			return false
		}
	}
}

// set reads "[…]" at p and says where it ends and whether c is in it. One that does not end is never matched.
func (m *matcher) set(p int, c byte) (end int, in bool) {
	i := p + 1
	not := i < len(m.pattern) && (m.pattern[i] == '!' || m.pattern[i] == '^')
	if not {
		i++
	}
	for first := i; i < len(m.pattern); i++ {
		low := m.pattern[i]
		if low == ']' && i > first {
			return i + 1, in != not && c != '/'
		}
		high := low
		if i+2 < len(m.pattern) && m.pattern[i+1] == '-' && m.pattern[i+2] != ']' {
			high = m.pattern[i+2]
			i += 2
		}
		in = in || low <= c && c <= high
	}
	return i, false
}
