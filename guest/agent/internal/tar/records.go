package tar

import (
	"strconv"
	"strings"
)

// maxXattr is the kernel's bound for an extended attribute (include/uapi/linux/limits.h).
const maxXattr = 64 << 10

// parseRecords reads PAX records, "<length> <key>=<value>\n". One without a value takes an earlier one back.
func parseRecords(text string, into map[string]string) error {
	for text != "" {
		digits, rest, ok := strings.Cut(text, " ")
		length, err := strconv.Atoi(digits)
		if !ok || err != nil || length <= len(digits)+1 || length > len(text) || text[length-1] != '\n' {
			return invalid("a PAX record of a wrong length")
		}
		key, value, ok := strings.Cut(rest[:length-len(digits)-2], "=")
		if !ok || key == "" {
			return invalid("a PAX record without a key")
		}
		text = text[length:]
		if used(key) {
			into[key] = value
		}
	}
	// Those that hold for all entries add up.
	total := 0
	for key, value := range into {
		total += len(key) + len(value)
	}
	if total > maxRecords {
		return invalid("too many PAX records")
	}
	return nil
}

const xattrKey = "SCHILY.xattr."

func used(key string) bool {
	switch key {
	case "path", "linkpath", "size", "uid", "gid", "mtime":
		return true
	}
	return strings.HasPrefix(key, "GNU.sparse.") || strings.HasPrefix(key, xattrKey)
}

// apply takes over what records say of an entry.
func (e *Entry) apply(records map[string]string, stored *int64, sparse *bool) error {
	for key, value := range records {
		var err error
		if name, ok := strings.CutPrefix(key, xattrKey); ok {
			if len(value) > maxXattr || len(name) > 255 {
				return invalid("an extended attribute that is too long")
			}
			e.Xattrs = append(e.Xattrs, Xattr{unescape(name), value})
			continue
		}
		if value == "" {
			continue
		}
		switch key {
		case "path":
			e.Path = value
		case "linkpath":
			e.Target = value
		case "size":
			*stored, err = whole(value, maxSize)
		case "uid", "gid":
			var id int64
			id, err = whole(value, 1<<32-2)
			if key == "uid" {
				e.UID = uint32(id)
			} else {
				e.GID = uint32(id)
			}
		case "mtime":
			e.Seconds, e.Nanoseconds, err = parseTime(value)
		}
		if err != nil {
			return err
		}
	}
	return e.applySparse(records, sparse)
}

// applySparse is about "GNU.sparse.…", whose name stands in for one that says "this is to be put together by a newer tar".
func (e *Entry) applySparse(records map[string]string, sparse *bool) error {
	major, ok := records["GNU.sparse.major"]
	if !ok {
		if records["GNU.sparse.map"] != "" || records["GNU.sparse.size"] != "" {
			return invalid("a file with holes in a format of PAX before 1.0")
		}
		return nil
	}
	if major != "1" || records["GNU.sparse.minor"] != "0" {
		return invalid("a file with holes in a format other than 1.0")
	}
	if name := records["GNU.sparse.name"]; name != "" {
		e.Path = name
	}
	*sparse = true
	var err error
	e.Size, err = whole(records["GNU.sparse.realsize"], maxSize)
	return err
}

// whole reads a decimal number.
func whole(digits string, max int64) (int64, error) {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > max {
		return 0, invalid("a number out of its bounds")
	}
	return n, nil
}

// parseTime reads seconds with a fraction; the nanoseconds count forward also before 1970.
func parseTime(value string) (seconds, nanoseconds int64, err error) {
	digits, negative := strings.CutPrefix(value, "-")
	before, fraction, _ := strings.Cut(digits, ".")
	if seconds, err = whole(before, 1<<40); err != nil {
		return 0, 0, err
	}
	if fraction != "" {
		if nanoseconds, err = whole((fraction + "00000000")[:9], 999_999_999); err != nil {
			return 0, 0, err
		}
	}
	if negative {
		if seconds = -seconds; nanoseconds > 0 {
			seconds, nanoseconds = seconds-1, 1_000_000_000-nanoseconds
		}
	}
	return seconds, nanoseconds, nil
}

// unescape undoes what GNU tar does to keys of attributes.
func unescape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "%3D", "="), "%25", "%")
}
