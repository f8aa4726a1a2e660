package changes

import (
	"sort"
	"strings"
	"syscall"
	"unsafe"

	"microsandbox/agent/internal/tar"
)

// attributes are those of a file itself, without what overlayfs keeps there; opaque says that it hides what lies below.
func attributes(path string) (found []tar.Xattr, opaque bool, err error) {
	names, err := listXattrs(path)
	if err != nil {
		return nil, false, err
	}
	for _, name := range strings.Split(names, "\x00") {
		if name == "" {
			continue
		}
		if strings.HasPrefix(name, overlayXattrs) {
			if name == opaqueXattr {
				value, err := xattrValue(path, name)
				opaque = err == nil && value == "y"
			}
			continue
		}
		value, err := xattrValue(path, name)
		if err == syscall.ENODATA {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		found = append(found, tar.Xattr{Name: name, Value: value})
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Name < found[j].Name })
	return found, opaque, nil
}

// The kernel's bound for names of a file, and for one value (include/uapi/linux/limits.h).
const maxXattr = 64 << 10

var xattrBuffer = make([]byte, maxXattr)

func listXattrs(path string) (string, error) {
	p, err := syscall.BytePtrFromString(path)
	if err != nil {
		return "", err
	}
	n, _, errno := syscall.Syscall(syscall.SYS_LLISTXATTR, uintptr(unsafe.Pointer(p)),
		uintptr(unsafe.Pointer(&xattrBuffer[0])), maxXattr)
	if errno == syscall.ENOTSUP {
		return "", nil
	}
	if errno != 0 {
		return "", errno
	}
	return string(xattrBuffer[:n]), nil
}

func xattrValue(path, name string) (string, error) {
	p, err := syscall.BytePtrFromString(path)
	if err != nil {
		return "", err
	}
	k, err := syscall.BytePtrFromString(name)
	if err != nil {
		return "", err
	}
	n, _, errno := syscall.Syscall6(syscall.SYS_LGETXATTR, uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(k)),
		uintptr(unsafe.Pointer(&xattrBuffer[0])), maxXattr, 0, 0)
	if errno != 0 {
		return "", errno
	}
	return string(xattrBuffer[:n]), nil
}
