package network

import (
	"strconv"
	"strings"
)

// String is the address's canonical spelling: RFC 5952 for IPv6, without its form for mapped IPv4.
func (ip IP) String() string {
	b := make([]byte, 0, 40)
	if len(ip) == 4 {
		for i, n := range ip {
			if i > 0 {
				b = append(b, '.')
			}
			b = strconv.AppendUint(b, uint64(n), 10)
		}
		return string(b)
	}
	from, to := longestZeros(ip)
	for i := 0; i < len(ip)/2; i++ {
		if i == from {
			b = append(b, "::"...)
			i = to - 1
			continue
		}
		if i > 0 && i != to {
			b = append(b, ':')
		}
		b = strconv.AppendUint(b, group(ip, i), 16)
	}
	return string(b)
}

func group(ip IP, i int) uint64 { return uint64(ip[2*i])<<8 | uint64(ip[2*i+1]) }

// longestZeros returns the first of the longest runs of at least two zero groups; -1 if there is none.
func longestZeros(ip IP) (from, to int) {
	from, to = -1, -1
	for i := 0; i < len(ip)/2; i++ {
		end := i
		for end < len(ip)/2 && group(ip, end) == 0 {
			end++
		}
		if end-i >= 2 && end-i > to-from {
			from, to = i, end
		}
		if end > i {
			i = end
		}
	}
	return from, to
}

// parseMAC reads six pairs of hexadecimal digits between colons.
func parseMAC(text string) ([]byte, bool) {
	mac := make([]byte, 0, 6)
	for _, pair := range strings.Split(text, ":") {
		n, err := strconv.ParseUint(pair, 16, 8)
		if err != nil || len(pair) != 2 {
			return nil, false
		}
		mac = append(mac, byte(n))
	}
	return mac, len(mac) == 6
}
