package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"

	"weightwarden/internal/api"
)

// cursor is the file that says what the server has.
type cursor struct {
	Epoch string `json:"epoch"`
	Acked uint64 `json:"acked"`
	CRC   uint32 `json:"crc32c"`
}

func (c cursor) sum() uint32 {
	return crc32.Checksum(fmt.Appendf(nil, "%s %d", c.Epoch, c.Acked), castagnoli())
}

func (s *Spool) cursorPath() string { return filepath.Join(s.dir, "cursor") }

// readCursor returns the acknowledged sequence number. A cursor that is missing,
// damaged or of another epoch means 0: hits are then delivered again, and the
// server knows them by their numbers.
func (s *Spool) readCursor() uint64 {
	b, err := os.ReadFile(s.cursorPath())
	if os.IsNotExist(err) {
		return s.firstSeq() - 1
	}
	var c cursor
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || c.CRC != c.sum() {
		s.damages = append(s.damages, Damage{Segment: "cursor", Text: "the cursor is damaged; delivering again from the oldest hit kept"})
		return s.firstSeq() - 1
	}
	if c.Epoch != s.header.epochHex() {
		return s.firstSeq() - 1
	}
	return c.Acked
}

func (s *Spool) firstSeq() uint64 {
	for _, seg := range s.segs {
		if len(seg.records) > 0 {
			return seg.records[0].seq
		}
	}
	return s.next
}

// Batch returns the oldest hits that the server does not have, at most max hits
// and about maxBytes of JSON, but at least one if there is any. A record that
// has become unreadable is forgotten and told by Damages.
func (s *Spool) Batch(max int, maxBytes int64) ([]api.Hit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []api.Hit
	var bytes int64
	for _, seg := range slices.Clone(s.segs) {
		n := len(seg.records)
		if n == 0 || seg.records[n-1].seq <= s.acked {
			continue
		}
		full, err := s.readFrom(seg, max, maxBytes, &out, &bytes)
		if errors.Is(err, os.ErrNotExist) {
			s.gone(seg)
			continue
		}
		if err != nil || full {
			return out, err
		}
	}
	return out, nil
}

// gone forgets a segment that somebody removed; nothing is written to it any more.
func (s *Spool) gone(seg *segment) {
	d := Damage{Segment: filepath.Base(seg.path), Text: "the segment was removed"}
	for _, r := range seg.records {
		if r.seq > s.acked {
			d.Lost = append(d.Lost, r.seq)
		}
	}
	if s.file != nil && seg == s.segs[len(s.segs)-1] {
		_ = s.file.Close() // it has no name
		s.file = nil
	}
	s.segs = slices.DeleteFunc(s.segs, func(other *segment) bool { return other == seg })
	s.damages = append(s.damages, d)
}

func (s *Spool) readFrom(seg *segment, max int, maxBytes int64, out *[]api.Hit, bytes *int64) (full bool, err error) {
	f, err := os.Open(seg.path)
	if err != nil {
		return false, fmt.Errorf("spool: %w", err)
	}
	defer f.Close()
	var lost []uint64
	defer func() {
		seg.records = slices.DeleteFunc(seg.records, func(p position) bool { return slices.Contains(lost, p.seq) })
	}()
	for _, pos := range seg.records {
		if pos.seq <= s.acked {
			continue
		}
		if len(*out) >= max || len(*out) > 0 && *bytes+int64(pos.size) > maxBytes {
			return true, nil
		}
		rec, err := readStored(f, pos)
		if err != nil {
			s.damages = append(s.damages, Damage{Segment: filepath.Base(seg.path), Lost: []uint64{pos.seq},
				Text: fmt.Sprintf("hit %d became unreadable: %v", pos.seq, err)})
			lost = append(lost, pos.seq)
			continue
		}
		rec.Hit.AgentID = s.opts.AgentID // a hit of the time before enrolment has none
		*out = append(*out, rec.Hit)
		*bytes += int64(pos.size)
	}
	return false, nil
}

func readStored(f *os.File, pos position) (stored, error) {
	b := make([]byte, pos.size)
	if _, err := f.ReadAt(b, pos.offset); err != nil {
		return stored{}, err
	}
	r, err := decodeRecord(b)
	if err != nil {
		return stored{}, err
	}
	var out stored
	if err := json.Unmarshal(r.payload, &out); err != nil {
		return stored{}, err
	}
	out.Hit.Seq = pos.seq
	return out, nil
}

// Ack records that the server has every hit up to and including seq, and removes
// segments that are no longer needed. The two newest segments always stay: what
// they hold tells the state store after a crash which files were reported.
func (s *Spool) Ack(seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq >= s.next {
		return fmt.Errorf("spool: the server acknowledged hit %d, the newest is %d", seq, s.next-1)
	}
	if seq <= s.acked {
		return nil
	}
	c := cursor{Epoch: s.header.epochHex(), Acked: seq}
	c.CRC = c.sum()
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := replace(s.cursorPath(), b); err != nil {
		return err
	}
	s.acked = seq
	for len(s.segs) > 2 {
		r := s.segs[0].records
		if len(r) > 0 && r[len(r)-1].seq > seq {
			break
		}
		if err := os.Remove(s.segs[0].path); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		s.segs = s.segs[1:]
	}
	return nil
}

// SetAside writes a hit that the server refuses for good into the folder
// "rejected" and leaves it to people; the caller acknowledges it afterwards.
func (s *Spool) SetAside(hit api.Hit, reason string) error {
	dir := filepath.Join(s.dir, "rejected")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	b, err := json.MarshalIndent(map[string]any{"reason": reason, "hit": hit}, "", "  ")
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return replace(filepath.Join(dir, fmt.Sprintf("%s-%020d.json", hit.Epoch, hit.Seq)), b)
}

// Each calls f with every hit still kept and its note, acknowledged or not,
// oldest first.
func (s *Spool) Each(f func(hit api.Hit, note []byte) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.segs {
		if err := eachOf(seg, f); err != nil {
			return err
		}
	}
	return nil
}

func eachOf(seg *segment, f func(api.Hit, []byte) error) error {
	file, err := os.Open(seg.path)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	defer file.Close()
	for _, pos := range seg.records {
		rec, err := readStored(file, pos)
		if err != nil {
			continue // said when it is delivered
		}
		if err := f(rec.Hit, rec.Note); err != nil {
			return err
		}
	}
	return nil
}

// More receives after hits were appended.
func (s *Spool) More() <-chan struct{} { return s.more }

// Epoch is the random name of this spool, 32 hex digits.
func (s *Spool) Epoch() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.header.epochHex()
}

// Damages lists what was found damaged since it was last asked.
func (s *Spool) Damages() []Damage {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.damages
	s.damages = nil
	return list
}

// Info says what waits.
func (s *Spool) Info() api.SpoolInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var info api.SpoolInfo
	for _, seg := range s.segs {
		info.Bytes += seg.size
		for _, r := range seg.records {
			if r.seq > s.acked {
				info.Pending++
			}
		}
	}
	return info
}

// Acked is the newest sequence number that the server has.
func (s *Spool) Acked() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}
