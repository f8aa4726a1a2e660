package glob

import "testing"

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"*", "a", true}, {"*.go", "a/b/c.go", true}, {"*.go", "c.gone", false}, {"a/*", "a/b", true}, {"a/*", "a/b/c", false},
		{"a/**", "a/b/c", true}, {"**/c", "c", true}, {"**/c", "a/b/c", true}, {"**/c", "a/bc", false}, {"a/**/c", "a/c", true},
		{"a/**/c", "a/x/y/c", true}, {"?", "ab", false}, {"a?c", "a/c", false}, {"[a-c]x", "bx", true}, {"[!a-c]x", "bx", false},
		{"[]]", "]", true}, {"[", "[", false}, {"\\*", "*", true}, {"\\*", "a", false}, {"a/[!b]c", "a//c", false},
		{"", "", true}, {"", "a", false}, {"[a", "a", false}, {"\\", "\\", true},
	} {
		if got := Matches(c.pattern, c.path); got != c.want {
			t.Errorf("Matches(%q, %q) = %v", c.pattern, c.path, got)
		}
	}
}

// A pattern of the host's meets names of the guest's: neither may make it run for ever, or out of bounds.
func FuzzMatches(f *testing.F) {
	f.Add("**a**b**c/", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	f.Add("[a-", "a")
	f.Add("[]", "]")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		if len(pattern) < 200 && len(path) < 200 {
			Matches(pattern, path)
		}
	})
}
