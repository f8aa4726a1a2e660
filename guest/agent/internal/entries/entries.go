// Package entries reads which names an open directory holds.
package entries

import (
	"sort"
	"syscall"
)

// Names gives the names in an open directory but . and .., in the order of their bytes, so that the same tree is always read the same way.
func Names(dir int) ([]string, error) {
	var names []string
	buffer := make([]byte, 32<<10)
	for {
		n, err := syscall.ReadDirent(dir, buffer)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		_, _, names = syscall.ParseDirent(buffer[:n], -1, names)
	}
	sort.Strings(names)
	return names, nil
}
