// The tree's probe: runs in the guest and prints what its kernel says of every file below a folder, one JSON object a line.
// Names and other bytes travel as base64, since they need not be text.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Of larger files only windows are read: under emulation hashing gigabytes takes minutes. The host knows the same rule.
const (
	wholeBytes  = 1 << 20
	windows     = 16
	windowBytes = 64 << 10
)

type entry struct {
	Path   []byte            `json:"path"`
	Type   uint32            `json:"type"`
	Mode   uint32            `json:"mode"`
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Links  uint64            `json:"links"`
	Inode  uint64            `json:"inode"`
	Size   int64             `json:"size"`
	Mtime  string            `json:"mtime"`
	Device string            `json:"device,omitempty"`
	Target []byte            `json:"target,omitempty"`
	Sha256 string            `json:"sha256,omitempty"`
	Xattrs map[string][]byte `json:"xattrs,omitempty"`
}

func main() {
	root := os.Args[1]
	// What is left out: what the kernel shows of itself is no part of an image.
	skipped := map[string]bool{}
	for _, name := range os.Args[2:] {
		skipped[filepath.Join(root, name)] = true
	}
	out := bufio.NewWriter(os.Stdout)
	lines := json.NewEncoder(out)
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if skipped[path] {
			return filepath.SkipDir
		}
		if err != nil {
			return err
		}
		found, err := look(root, path)
		if err != nil {
			return err
		}
		return lines.Encode(found)
	})
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func look(root, path string) (*entry, error) {
	var s syscall.Stat_t
	if err := syscall.Lstat(path, &s); err != nil {
		return nil, fmt.Errorf("lstat %q: %w", path, err)
	}
	relative, err := filepath.Rel(root, path)
	if err != nil {
		return nil, err
	}
	e := &entry{
		Path: []byte(relative), Type: s.Mode & syscall.S_IFMT, Mode: s.Mode &^ syscall.S_IFMT, UID: s.Uid, GID: s.Gid,
		Links: s.Nlink, Inode: s.Ino, Size: s.Size, Mtime: fmt.Sprintf("%d.%09d", s.Mtim.Sec, s.Mtim.Nsec),
	}
	switch e.Type {
	case syscall.S_IFREG:
		e.Sha256, err = digest(path, s.Size)
	case syscall.S_IFLNK:
		var target string
		target, err = os.Readlink(path)
		e.Target = []byte(target)
	case syscall.S_IFCHR, syscall.S_IFBLK:
		// The layout of the kernel's "huge" device numbers, as in major(3).
		e.Device = fmt.Sprintf("%d:%d", s.Rdev>>8&0xfff|s.Rdev>>32&^0xfff, s.Rdev&0xff|s.Rdev>>12&^0xff)
	}
	if err != nil {
		return nil, err
	}
	// There is no lgetxattr in Go's syscall package; and only root's own kinds go on symbolic links.
	if e.Type == syscall.S_IFREG || e.Type == syscall.S_IFDIR {
		e.Xattrs, err = xattrs(path)
	}
	return e, err
}

func digest(path string, size int64) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if size <= wholeBytes {
		_, err = io.Copy(hash, file)
		return hex.EncodeToString(hash.Sum(nil)), err
	}
	buffer := make([]byte, windowBytes)
	for i := int64(0); i <= windows; i++ {
		at := min(i*(size/windows), size-windowBytes)
		if _, err := file.ReadAt(buffer, at); err != nil {
			return "", err
		}
		hash.Write(buffer)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func xattrs(path string) (map[string][]byte, error) {
	list := make([]byte, 64<<10)
	n, err := syscall.Listxattr(path, list)
	if err != nil {
		return nil, fmt.Errorf("listxattr %q: %w", path, err)
	}
	found := map[string][]byte{}
	for start, i := 0, 0; i < n; i++ {
		if list[i] != 0 {
			continue
		}
		name := string(list[start:i])
		start = i + 1
		value := make([]byte, 64<<10)
		size, err := syscall.Getxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("getxattr %q of %q: %w", name, path, err)
		}
		found[name] = value[:size]
	}
	return found, nil
}
