package zip

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"

	"weightwarden/formats"
)

const (
	// gapBytes is how far a stretch that no directory mentions is searched.
	gapBytes = 64 << 10
	// gapBudget bounds that search over the whole file.
	gapBudget = 64 << 20
	scanBytes = 256 << 10
	// maxNeeded and maxName tell a local header from four bytes of weights.
	maxNeeded = 100
	maxName   = 4096
)

type span struct{ from, to int64 }

// scanGaps looks for local headers outside of what the directories cover: in
// the whole file where there is no directory, else at the start of every gap.
func (a *Archive) scanGaps(ctx context.Context, spool *formats.Spool, end int64, found int) error {
	if found == 0 {
		a.note("zip.nodirectory", formats.Unread, -1, "the central directory is missing; members were found by their own headers")
		return a.scan(ctx, spool, span{0, end}, min(end, formats.HeadBytes)) // where Sniff looked
	}
	budget := int64(gapBudget)
	for _, g := range a.gaps() {
		n := min(g.to-g.from, gapBytes)
		if budget -= n; budget < 0 {
			a.note("zip.gaps", formats.Warning, g.from, "too many gaps between members; the rest was not searched")
			return nil
		}
		before := len(a.Entries)
		if err := a.scan(ctx, spool, g, g.from+n); err != nil {
			return err
		}
		for _, e := range a.Entries[before:] {
			a.note("zip.hidden", formats.Danger, e.Header, "member %.200q is in no directory", e.Name)
		}
	}
	return nil
}

// gaps returns the stretches of the file that belong to no known member, in order.
func (a *Archive) gaps() []span {
	spans := make([]span, 0, len(a.Entries)+len(a.directories)+1)
	for i := range a.Entries {
		if e := &a.Entries[i]; e.Data >= 0 {
			spans = append(spans, span{e.Header, e.Data + e.Packed})
		}
	}
	spans = append(spans, a.directories...)
	slices.SortFunc(spans, func(x, y span) int { return int(min(max(x.from-y.from, -1), 1)) })
	var out []span
	at := int64(0)
	for _, s := range append(spans, span{a.src.Size(), a.src.Size()}) {
		if s.from-at >= localBytes {
			out = append(out, span{at, s.from})
		}
		at = max(at, s.to)
	}
	return out
}

// reach is where the first longer gap begins, or what covers the file ends.
func (a *Archive) reach() int64 {
	for _, g := range a.gaps() {
		if g.to-g.from >= formats.LeastLoose || g.to == a.src.Size() {
			return g.from
		}
	}
	return a.src.Size()
}

// scan adds the members whose local headers lie in g, the first one before until.
func (a *Archive) scan(ctx context.Context, spool *formats.Spool, g span, until int64) error {
	pos := g.from
	for {
		at, err := a.nextLocal(ctx, pos, until)
		if err != nil || at < 0 {
			return err
		}
		if !spool.Member() {
			a.note("zip.limit", formats.Unread, at, "more members than allowed")
			return nil
		}
		l, ok := readLocal(a.src, at)
		if !ok || !plausible(&l) {
			pos = at + 4
			continue
		}
		e := l.Entry
		if e.Flags&flagDescriptor != 0 && e.Packed == 0 {
			if err := a.measure(ctx, &e, g.to); err != nil {
				return err
			}
		}
		if left := g.to - e.Data; e.Packed < 0 || e.Packed > left {
			a.note("zip.size", formats.Unread, at, "member %.200q says %d bytes, %d are left", e.Name, e.Packed, max(left, 0))
			e.Packed = max(left, 0)
		}
		a.add(e)
		pos = e.Data + e.Packed
		until = g.to // once a member was found, its neighbours are likely
	}
}

func plausible(l *local) bool {
	return len(l.Name) > 0 && len(l.Name) <= maxName && (l.Method <= AES) && !bytes.ContainsRune([]byte(l.Name), 0)
}

// nextLocal returns the offset of the next local header in [from, to), -1 without one.
func (a *Archive) nextLocal(ctx context.Context, from, to int64) (int64, error) {
	return a.find(ctx, from, to, func(_ int64, b []byte) bool {
		return binary.LittleEndian.Uint32(b) == sigLocal && binary.LittleEndian.Uint16(b[4:])&0xff <= maxNeeded
	})
}

// measure finds the end of a member whose local header leaves its size to the
// descriptor behind the data.
func (a *Archive) measure(ctx context.Context, e *Entry, to int64) error {
	at, err := a.find(ctx, e.Data, to, func(off int64, b []byte) bool {
		switch binary.LittleEndian.Uint32(b) {
		case sigLocal:
			return binary.LittleEndian.Uint16(b[4:])&0xff <= maxNeeded
		case sigCentral, sigEnd, sigEnd64:
			return true
		case sigDescriptor:
			n := off - e.Data
			return int64(binary.LittleEndian.Uint32(b[8:])) == n || int64(binary.LittleEndian.Uint64(b[8:])) == n
		}
		return false
	})
	if err != nil {
		return err
	}
	if at < 0 {
		a.note("zip.truncated", formats.Unread, e.Header, "member %.200q runs to the end of the file", e.Name)
		at = to
	}
	e.Packed, e.Size = at-e.Data, at-e.Data
	var b [8]byte
	if a.signature(at) == sigDescriptor && formats.ReadFull(a.src, b[:], at) == nil {
		e.CRC32 = binary.LittleEndian.Uint32(b[4:])
	}
	return nil
}

// find returns the offset of the first place in [from, to) that starts with PK
// and that match accepts; match gets 16 bytes, zeros behind the end of the file.
func (a *Archive) find(ctx context.Context, from, to int64, match func(int64, []byte) bool) (int64, error) {
	const look = 16
	if n := int(min(scanBytes, max(to-from, 0))) + look; cap(a.scratch) < n {
		a.scratch = make([]byte, n)
	}
	buf := a.scratch
	for from < to {
		if err := ctx.Err(); err != nil {
			return -1, err
		}
		clear(buf)
		n := min(int64(len(buf)), a.src.Size()-from)
		if n <= 0 || formats.ReadFull(a.src, buf[:n], from) != nil {
			return -1, nil
		}
		window := buf[:len(buf)-look]
		for i := 0; i < len(window); i++ {
			j := bytes.Index(window[i:], []byte("PK"))
			if j < 0 {
				break
			}
			if i += j; from+int64(i) >= to {
				break
			}
			if match(from+int64(i), buf[i:i+look]) {
				return from + int64(i), nil
			}
		}
		from += int64(len(window)) - 1 // "P" may be the last byte
		if len(window) <= 1 {
			break
		}
	}
	return -1, nil
}
