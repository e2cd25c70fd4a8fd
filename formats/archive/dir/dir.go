// Package dir reads a folder as one container, so that the files of a model are
// seen together: shards with their index, the caches of hubs that keep files
// under their digests with links for names, and Git working trees whose large
// files are LFS objects.
//
// Everything is opened below one os.Root. Links are followed as long as they stay
// below it; a link that leads out is a finding.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"weightwarden/formats"
	"weightwarden/formats/archive"
	"weightwarden/formats/archive/lfs"
	"weightwarden/formats/file"
)

// ID is the format of a folder, for formats.Decoders.DecodeMembers.
const ID formats.ID = "dir"

const (
	// maxOpen bounds the files of one folder: they stay open with the Model.
	maxOpen = 4096
	// maxDepth bounds nested folders.
	maxDepth = 32
	// pointerBytes is the largest file that may be an LFS pointer.
	pointerBytes = 1024
)

// Open lists the regular files below root, links first, then in the order of their
// names. A file that several names lead to is there once, under the name that is
// not its digest. root stays the caller's and may be closed afterwards; the files
// are closed when the last of their Sources is gone. Use formats.Decoders.
// DecodeMembers on the result. The error is that of ctx.
func Open(ctx context.Context, root *os.Root, limits formats.Limits) (*formats.Members, error) {
	l := &lister{ctx: ctx, root: root, limits: limits.OrDefault(), taken: map[string]bool{}}
	l.spool = formats.SpoolOf(ctx, l.limits)
	if err := l.walk("."); err != nil {
		return nil, err
	}
	l.open()
	if l.left > 0 {
		l.note("dir.limit", formats.Unread, "%d files are open, as many as may be; %d more were not read, the first of them %.200q", l.set.Len(), l.left, l.first)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l.set.Members(l.findings), nil
}

type lister struct {
	ctx      context.Context
	root     *os.Root
	limits   formats.Limits
	spool    *formats.Spool
	names    []string
	taken    map[string]bool // LFS objects that a pointer named
	set      archive.Set
	findings []formats.Finding
	left     int    // files that were not opened, since too many are
	first    string // of them
}

func (l *lister) note(code string, s formats.Severity, text string, args ...any) {
	if len(l.findings) < l.limits.Findings {
		l.findings = append(l.findings, formats.Finding{Code: code, Severity: s, Offset: -1, Text: fmt.Sprintf(text, args...)})
	}
}

// walk collects names; the error is that of the context only.
func (l *lister) walk(top string) error {
	type folder struct {
		name  string
		depth int
	}
	todo := []folder{{top, 0}}
	for len(todo) > 0 {
		f := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if err := l.ctx.Err(); err != nil {
			return err
		}
		entries, err := l.list(f.name)
		if err != nil {
			l.note("dir.folder", formats.Unread, "folder %.200q cannot be listed: %v", f.name, err)
			continue
		}
		for _, e := range entries {
			name := path.Join(f.name, e.Name())
			if !e.IsDir() {
				l.names = append(l.names, name)
				continue
			}
			if f.depth+1 >= maxDepth {
				l.note("dir.depth", formats.Unread, "folder %.200q is nested too deeply", name)
				continue
			}
			todo = append(todo, folder{name, f.depth + 1})
		}
		if len(l.names) > l.limits.Members {
			l.note("dir.limit", formats.Unread, "more than %d files", l.limits.Members)
			break
		}
	}
	slices.Sort(l.names)
	return nil
}

func (l *lister) list(name string) ([]fs.DirEntry, error) {
	d, err := l.root.Open(name)
	if err != nil {
		return nil, err
	}
	entries, err := d.ReadDir(l.limits.Members + 1)
	return entries, errors.Join(ignoreEnd(err), d.Close())
}

// ignoreEnd drops the error of a folder that has no more entries.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// open opens every file once: links first, since their names say more than the
// digests that they lead to.
func (l *lister) open() {
	var seen []fs.FileInfo
	bySize := map[int64][]int{} // candidates for os.SameFile
	fresh := func(info fs.FileInfo) bool {
		for _, i := range bySize[info.Size()] {
			if os.SameFile(seen[i], info) {
				return false
			}
		}
		bySize[info.Size()] = append(bySize[info.Size()], len(seen))
		seen = append(seen, info)
		return true
	}
	for _, links := range []bool{true, false} {
		for _, name := range l.names {
			if l.ctx.Err() != nil {
				return
			}
			info, err := l.root.Lstat(name)
			if err != nil || (info.Mode()&fs.ModeSymlink != 0) != links {
				continue
			}
			if info, err = l.root.Stat(name); err != nil {
				l.note("dir.link", formats.Warning, "%.200q leads out of the folder or nowhere", name)
				continue
			}
			if info.Mode().IsRegular() && !l.taken[name] && fresh(info) {
				l.add(name)
			}
		}
	}
}

// add opens one file as a member. An LFS pointer whose object is here is
// replaced by it.
func (l *lister) add(name string) {
	if l.set.Len() >= maxOpen || !l.spool.Member() {
		if l.left == 0 {
			l.first = name
		}
		l.left++
		return
	}
	src, err := l.openFile(name)
	if err != nil {
		l.note("dir.file", formats.Unread, "%.200q cannot be read: %v", name, err)
		return
	}
	if object, ok := l.object(src); ok {
		if of, err := l.openFile(object); err == nil {
			l.taken[object] = true
			_ = src.Close()
			src = of
		}
	}
	l.set.Add(name, src)
}

func (l *lister) openFile(name string) (*file.File, error) {
	f, err := l.root.Open(name)
	if err != nil {
		return nil, err
	}
	return file.New(f, nil)
}

// object returns the path of the LFS object that a pointer names.
func (l *lister) object(src formats.Source) (string, bool) {
	if src.Size() > pointerBytes {
		return "", false
	}
	b := make([]byte, src.Size())
	if formats.ReadFull(src, b, 0) != nil {
		return "", false
	}
	p, err := lfs.Parse(b)
	return p.Object(), err == nil
}
