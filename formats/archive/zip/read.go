// Package zip reads zip archives the way the loaders of models do, and further:
// whatever stands in front of, between and behind the members, with damaged or
// contradicting headers. The format is PKWARE's APPNOTE.TXT 6.3.10.
//
// The standard library's archive/zip is not used for the directory, because it
// refuses archives that PyTorch loads and hides what local headers say.
package zip

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"weightwarden/formats"
)

const (
	id formats.ID = "zip"
	// maxArchives is how many archives one behind the other are read, as in
	// checkpoints that hold a small archive a tensor, and maxTails how many of
	// them may have something behind their end record.
	maxArchives = 1 << 16
	maxTails    = 64
)

// Archive is the directory of one file, all archives in it joined.
type Archive struct {
	// Entries in the order of the central directory, then members that only have
	// a local header.
	Entries  []Entry
	Findings []formats.Finding
	src      formats.Source
	limits   formats.Limits
	// directories are the stretches of central directories and end records.
	directories []span
	scratch     []byte // window of find
	tails       int    // end records that were searched for
	// Starts are the offsets of the archives, by Entry.Part.
	Starts []int64
}

// Read lists the members of src. What contradicts itself is a finding; it fails
// where not one member or directory can be found.
func Read(ctx context.Context, src formats.Source, limits formats.Limits) (*Archive, error) {
	a := &Archive{src: src, limits: limits.OrDefault()}
	spool := formats.SpoolOf(ctx, a.limits)
	end, found := src.Size(), 0
	for end >= endBytes {
		if found >= maxArchives {
			a.note("zip.limit", formats.Unread, end, "more than %d archives", maxArchives)
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		start, ok, err := a.directory(ctx, spool, end, found)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		if found++; found == 2 {
			a.note("zip.concatenated", formats.Warning, start, "another archive stands in front")
		}
		if start >= end { // an empty archive still moves the end
			break
		}
		end = start
	}
	switch {
	case found == 0:
		end = src.Size()
	case end > 0:
		a.note("zip.prefix", formats.Info, 0, "%d bytes stand in front of the archive", end)
	}
	if err := a.scanGaps(ctx, spool, end, found); err != nil {
		return nil, err
	}
	if found == 0 && len(a.Entries) == 0 {
		return nil, formats.Errorf(id, "central directory", -1, formats.ErrNotRecognized, "no directory and no member")
	}
	a.check(ctx)
	return a, nil
}

func (a *Archive) note(code string, s formats.Severity, off int64, text string, args ...any) {
	if len(a.Findings) < a.limits.Findings {
		a.Findings = append(a.Findings, formats.Finding{Code: code, Severity: s, Offset: off, Text: fmt.Sprintf(text, args...)})
	}
}

// endRecord is where a central directory lies. base is what must be added to
// the offsets in it, because something stands in front of the archive.
type endRecord struct {
	at, offset, size, base int64
}

// directory reads the last archive that ends before end and returns where it
// starts.
func (a *Archive) directory(ctx context.Context, spool *formats.Spool, end int64, part int) (start int64, ok bool, err error) {
	rec, ok := a.findEnd(end)
	if !ok {
		return 0, false, nil
	}
	a.directories = append(a.directories, span{rec.offset, rec.at + endBytes})
	first := len(a.Entries)
	if err := a.central(ctx, spool, rec); err != nil {
		return 0, false, err
	}
	start = rec.offset
	for i := first; i < len(a.Entries); i++ {
		start = min(start, a.Entries[i].Header)
		a.Entries[i].Part = part
	}
	a.Starts = append(a.Starts, max(start, 0))
	return max(start, 0), true, nil
}

// findEnd looks for the last end record before end whose directory is there.
func (a *Archive) findEnd(end int64) (endRecord, bool) {
	var last [endBytes]byte // most archives end with their end record
	if formats.ReadFull(a.src, last[:], end-endBytes) == nil && binary.LittleEndian.Uint32(last[:]) == sigEnd {
		if rec, ok := a.endAt(end-endBytes, last[:]); ok {
			return rec, true
		}
	}
	if a.tails++; a.tails > maxTails {
		return endRecord{}, false
	}
	tail := make([]byte, min(end, formats.TailBytes))
	from := end - int64(len(tail))
	if formats.ReadFull(a.src, tail, from) != nil {
		return endRecord{}, false
	}
	sig := []byte{'P', 'K', 5, 6}
	for i := bytes.LastIndex(tail, sig); i >= 0; i = bytes.LastIndex(tail[:i], sig) {
		if i+endBytes > len(tail) {
			continue
		}
		if rec, ok := a.endAt(from+int64(i), tail[i:]); ok {
			if behind := end - rec.at - endBytes - int64(binary.LittleEndian.Uint16(tail[i+20:])); behind > 0 {
				a.note("zip.suffix", formats.Info, end-behind, "%d bytes stand behind the archive", behind)
			}
			return rec, true
		}
	}
	return endRecord{}, false
}

// endAt checks the end record at off, with its zip64 one, against the file.
func (a *Archive) endAt(off int64, b []byte) (endRecord, bool) {
	le := binary.LittleEndian
	rec := endRecord{at: off, size: int64(le.Uint32(b[12:])), offset: int64(le.Uint32(b[16:]))}
	count, behind := int64(le.Uint16(b[10:])), off
	if at, c, wide, ok := a.end64(off); ok {
		if rec.size == 0xffffffff || rec.offset == 0xffffffff || count == 0xffff || wide.size == rec.size {
			rec.size, rec.offset, count, behind = wide.size, wide.offset, c, at
		}
	}
	if rec.size < 0 || rec.offset < 0 || rec.size > behind {
		return rec, false
	}
	if count == 0 && rec.size == 0 {
		rec.offset = behind
		return rec, true
	}
	// The directory ends where the end record starts; if it does not begin where
	// the record claims, something was put in front of the archive.
	if actual := behind - rec.size; a.signature(actual) == sigCentral {
		rec.base = actual - rec.offset
		rec.offset = actual
		return rec, true
	}
	return rec, rec.offset <= behind && a.signature(rec.offset) == sigCentral
}

// end64 reads the zip64 end record that belongs to the end record at off.
func (a *Archive) end64(off int64) (at, count int64, rec endRecord, ok bool) {
	var loc [locator64Bytes]byte
	if off < locator64Bytes || formats.ReadFull(a.src, loc[:], off-locator64Bytes) != nil ||
		binary.LittleEndian.Uint32(loc[:]) != sigLocator64 {
		return 0, 0, rec, false
	}
	for _, at := range []int64{off - locator64Bytes - end64Bytes, int64(binary.LittleEndian.Uint64(loc[8:]))} {
		var b [end64Bytes]byte
		if at < 0 || at > off-locator64Bytes-end64Bytes || a.signature(at) != sigEnd64 || formats.ReadFull(a.src, b[:], at) != nil {
			continue
		}
		rec.size, rec.offset = int64(binary.LittleEndian.Uint64(b[40:])), int64(binary.LittleEndian.Uint64(b[48:]))
		return at, int64(binary.LittleEndian.Uint64(b[32:])), rec, true
	}
	return 0, 0, rec, false
}

// signature returns the four bytes at off, 0 where there are none.
func (a *Archive) signature(off int64) uint32 {
	var b [4]byte
	if off < 0 || off > a.src.Size()-4 || formats.ReadFull(a.src, b[:], off) != nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b[:])
}

// central walks the central directory and resolves every entry's local header.
func (a *Archive) central(ctx context.Context, spool *formats.Spool, rec endRecord) error {
	in := &cursor{src: a.src, pos: rec.offset, end: rec.offset + rec.size}
	if in.end > rec.at {
		in.end = rec.at
	}
	for in.pos < in.end {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := in.pos
		b, err := in.peek(centralBytes)
		if err != nil || binary.LittleEndian.Uint32(b) != sigCentral {
			a.note("zip.directory", formats.Unread, at, "the central directory is damaged here")
			return nil
		}
		le := binary.LittleEndian
		n := centralBytes + int(le.Uint16(b[28:])) + int(le.Uint16(b[30:])) + int(le.Uint16(b[32:]))
		if b, err = in.peek(n); err != nil {
			a.note("zip.directory", formats.Unread, at, "the central directory ends inside an entry")
			return nil
		}
		e := parseCentral(b)
		in.pos += int64(n)
		e.Header += rec.base
		if !spool.Member() {
			a.note("zip.limit", formats.Unread, at, "more members than allowed")
			return nil
		}
		a.add(a.resolve(e))
	}
	return nil
}

// resolve finds the data of a central entry and compares the two headers.
func (a *Archive) resolve(e Entry) Entry {
	l, ok := readLocal(a.src, e.Header)
	if !ok {
		a.note("zip.local", formats.Unread, e.Header, "member %.200q has no local header", e.Name)
		e.Packed = 0
		return e
	}
	e.Data = l.Data
	a.compare(&e, &l)
	if e.Method == Stored && e.Packed != e.Size {
		a.note("zip.size", formats.Warning, e.Header, "stored member %.200q says %d bytes packed and %d unpacked", e.Name, e.Packed, e.Size)
		e.Packed = max(e.Packed, e.Size)
	}
	if left := a.src.Size() - e.Data; e.Packed < 0 || e.Packed > left {
		a.note("zip.size", formats.Unread, e.Header, "member %.200q says %d bytes, %d are left", e.Name, e.Packed, left)
		e.Packed = left
	}
	return e
}

// compare reports where the local header would make another reader see another archive.
func (a *Archive) compare(e *Entry, l *local) {
	if l.Name != e.Name {
		a.note("zip.name", formats.Danger, e.Header, "member is %.200q in the directory and %.200q in its own header", e.Name, l.Name)
	}
	if l.Method != e.Method {
		a.note("zip.method", formats.Warning, e.Header, "member %.200q has method %d in the directory and %d in its own header", e.Name, e.Method, l.Method)
	}
	const odd = flagEncrypted | flagPatched | flagStrong | flagMasked
	if f := (e.Flags | l.Flags) & odd; f != 0 {
		a.note("zip.flags", formats.Danger, e.Header, "member %.200q has odd flags (directory %#x, own header %#x): it may be encrypted, or hides from scanners", e.Name, e.Flags, l.Flags)
	}
	if l.Flags&flagDescriptor == 0 && (l.Packed != e.Packed || l.Size != e.Size || l.CRC32 != e.CRC32) {
		a.note("zip.header", formats.Warning, e.Header, "sizes or checksum of member %.200q differ between the directory and its own header", e.Name)
	}
}

func (a *Archive) add(e Entry) { a.Entries = append(a.Entries, e) }
