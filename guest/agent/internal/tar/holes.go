package tar

import "syscall"

// Holes maps a file that takes less than its size; nil if it has no holes worth it, or too many.
func Holes(fd int, size int64) []Extent {
	const seekData, seekHole, most = 3, 4, 100_000
	extents := []Extent{}
	for at := int64(0); at < size; {
		start, err := syscall.Seek(fd, at, seekData)
		if err == syscall.ENXIO {
			break // a hole to the end
		}
		if err != nil || start >= size || len(extents) == most {
			return nil
		}
		end, err := syscall.Seek(fd, start, seekHole)
		if err != nil || end <= start {
			return nil
		}
		end = min(end, size)
		extents = append(extents, Extent{start, end - start})
		at = end
	}
	if len(extents) == 1 && extents[0].Length == size {
		return nil
	}
	return extents
}
