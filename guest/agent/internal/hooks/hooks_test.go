package hooks

import (
	"math/rand"
	"reflect"
	"strings"
	"testing"
)

const told = "la\x00one\x00la\x00\x00ca\x000\x00sb\x009\x00tc\x00\x00d\x00\x00"

// However it arrives, the same is read.
func TestReportsInPieces(t *testing.T) {
	want := []Result{{Name: "a"}, {Name: "b", Signal: 9}, {Name: "c", TimedOut: true}}
	for size := 1; size <= len(told); size++ {
		var r Reports
		var lines []string
		for rest := told; rest != ""; rest = rest[min(size, len(rest)):] {
			if err := r.Take([]byte(rest[:min(size, len(rest))]), func(name, text string) { lines = append(lines, name+":"+text) }); err != nil {
				t.Fatal(size, err)
			}
		}
		if !r.Over || !reflect.DeepEqual(r.Results, want) || strings.Join(lines, " ") != "a:one a:" {
			t.Fatal(size, r.Results, lines)
		}
	}
}

// A root user of the sandbox may reach what tells them; it must not reach PID 1 by it.
func TestReportsThatAreNone(t *testing.T) {
	for _, wrong := range []string{
		"xa\x000\x00", "\x00\x00", "ca\x00256\x00", "ca\x00-1\x00", "ca\x00\x00", "sa\x000\x00", "sa\x0065\x00", "d\x00\x00d\x00\x00",
		strings.Repeat("a", maxReport+1), "c" + strings.Repeat("n", maxNameLen+1) + "\x000\x00", strings.Repeat("ca\x000\x00", Max+1),
	} {
		var r Reports
		if r.Take([]byte(wrong), func(string, string) {}) == nil {
			t.Errorf("%.40q is taken", wrong)
		}
	}
	random := rand.New(rand.NewSource(2))
	for range 20_000 {
		b := []byte(told)
		for range 1 + random.Intn(4) {
			b[random.Intn(len(b))] = byte(random.Intn(256))
		}
		var r Reports
		_ = r.Take(b, func(string, string) {})
		if len(r.Results) > 4 {
			t.Fatal(r.Results)
		}
	}
}
