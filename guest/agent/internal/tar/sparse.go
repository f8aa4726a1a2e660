package tar

// sparseMap reads the map that stands before the pieces of a file with holes (GNU's PAX format 1.0): decimal numbers with a line end
// each, filled up to a block.
func (r *Reader) sparseMap(e *Entry) error {
	var read int64
	line := func() (int64, error) {
		var digits [20]byte
		for n := 0; ; n++ {
			piece, err := r.piece(1)
			if err != nil {
				return 0, err
			}
			read++
			if piece[0] == '\n' {
				return whole(string(digits[:n]), maxSize)
			}
			if n == len(digits) {
				return 0, invalid("a map of holes that is none")
			}
			digits[n] = piece[0]
		}
	}
	count, err := line()
	if err != nil {
		return err
	}
	if count > maxExtents {
		return invalid("a file with too many holes")
	}
	e.Extents = []Extent{}
	for range count {
		var x Extent
		if x.Offset, err = line(); err != nil {
			return err
		}
		if x.Length, err = line(); err != nil {
			return err
		}
		if err := e.add(x); err != nil {
			return err
		}
	}
	for fill := padding(read); fill > 0; {
		piece, err := r.piece(fill)
		if err != nil {
			return err
		}
		fill -= int64(len(piece))
	}
	return e.fits(r.left)
}

// oldSparse reads the map as GNU tar wrote it before PAX: four pieces in the header, more in blocks behind it that do not count as
// stored.
func (r *Reader) oldSparse(e *Entry) error {
	size, ok := number(r.block[483:495])
	if !ok || size < 0 {
		return invalid("a file with holes without a size")
	}
	e.Size, e.Extents = size, []Extent{}
	fields, more := r.block[386:482], r.block[482] != 0
	for {
		for ; len(fields) >= 24 && fields[0] != 0; fields = fields[24:] {
			offset, ok1 := number(fields[:12])
			length, ok2 := number(fields[12:24])
			if !ok1 || !ok2 {
				return invalid("a map of holes that is none")
			}
			if err := e.add(Extent{offset, length}); err != nil {
				return err
			}
		}
		if !more {
			return e.fits(r.left)
		}
		if err := r.full(r.block[:]); err != nil {
			return err
		}
		fields, more = r.block[:504], r.block[504] != 0
	}
}

// add takes another piece, which lies behind those before it and inside the file.
func (e *Entry) add(x Extent) error {
	end := int64(0)
	if n := len(e.Extents); n > 0 {
		end = e.Extents[n-1].Offset + e.Extents[n-1].Length
	}
	if x.Offset < end || x.Length < 0 || x.Offset > e.Size || x.Length > e.Size-x.Offset || len(e.Extents) >= maxExtents {
		return invalid("a map of holes that is none")
	}
	e.Extents = append(e.Extents, x)
	return nil
}

// fits says whether what is stored is what the map tells of.
func (e *Entry) fits(stored int64) error {
	if e.stored() != stored {
		return invalid("a file with holes of another size than its map")
	}
	return nil
}
