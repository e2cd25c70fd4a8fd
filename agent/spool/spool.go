package spool

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"

	"weightwarden/internal/api"
	"weightwarden/internal/durable"
)

// Options of a spool; zero values mean the defaults.
type Options struct {
	SegmentBytes int64  // a segment is closed when it is longer; default 8 MiB
	AgentID      string // put on every hit; "" before enrolment
}

// Damage is something that Open found and repaired as far as it could.
type Damage struct {
	Segment string   // base name
	Kept    string   // where the damaged segment lies now; "" for a torn tail that was cut
	Text    string   // for people
	Lost    []uint64 // sequence numbers known to be gone, at most a thousand
}

// Spool is a durable queue of hits. Its methods are safe for concurrent use.
type Spool struct {
	mu      sync.Mutex
	dir     string
	opts    Options
	header  header // epoch; first is unused
	segs    []*segment
	next    uint64 // sequence number of the next hit
	acked   uint64
	damages []Damage
	more    chan struct{}
	file    *os.File // the last segment, for appending; nil: open a new one first
}

type segment struct {
	path    string
	size    int64
	records []position
}

// Open opens or creates the spool in dir.
func Open(dir string, opts Options) (*Spool, error) {
	if opts.SegmentBytes <= 0 {
		opts.SegmentBytes = 8 << 20
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	for _, d := range []string{dir, filepath.Join(dir, "damaged"), filepath.Join(dir, "rejected")} {
		if err := durable.RemoveUnfinished(d); err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
	}
	s := &Spool{dir: dir, opts: opts, next: 1, more: make(chan struct{}, 1)}
	if err := s.load(); err != nil {
		return nil, err
	}
	if len(s.segs) == 0 {
		if _, err := rand.Read(s.header.epoch[:]); err != nil {
			return nil, fmt.Errorf("spool: epoch: %w", err)
		}
	} else if err := s.reopenLast(); err != nil {
		return nil, err
	}
	s.acked = s.readCursor()
	if s.acked >= s.next { // the log was set aside, the cursor was not
		s.acked = s.next - 1
	}
	return s, nil
}

func (s *Spool) load() error {
	names, err := filepath.Glob(filepath.Join(s.dir, "seg-*.log"))
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	sort.Strings(names)
	for i, name := range names {
		if err := s.loadSegment(name, i == len(names)-1); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spool) loadSegment(name string, last bool) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	p, err := parseSegment(b)
	if err != nil {
		return s.setAside(name, b, fmt.Sprintf("unreadable: %v", err), nil)
	}
	if len(s.segs) > 0 && p.header.epoch != s.header.epoch {
		return s.setAside(name, b, "it belongs to another spool", nil)
	}
	s.header = p.header
	s.trim(p.header.first)
	holes := s.holes(p)
	switch {
	case p.damaged || len(holes) > 0 || !last && p.good < int64(len(b)):
		if err := s.salvage(name, b, &p, holes); err != nil {
			return err
		}
	case p.good < int64(len(b)):
		if err := os.Truncate(name, p.good); err != nil {
			return fmt.Errorf("spool: cut torn tail: %w", err)
		}
		s.damages = append(s.damages, Damage{Segment: filepath.Base(name),
			Text: fmt.Sprintf("%d bytes of a record that was never finished were cut", int64(len(b))-p.good)})
	}
	if n := len(p.records); n > 0 {
		s.next = p.records[n-1].seq + 1
	} else if p.header.first > s.next {
		s.next = p.header.first
	}
	s.segs = append(s.segs, &segment{path: name, size: p.good, records: p.records})
	return nil
}

// trim forgets records that a later segment numbers anew: their write failed, and
// the caller was told so.
func (s *Spool) trim(first uint64) {
	for _, seg := range s.segs {
		for n := len(seg.records); n > 0 && seg.records[n-1].seq >= first; n-- {
			seg.records = seg.records[:n-1]
		}
	}
	if len(s.segs) > 0 && first < s.next {
		s.next = first
	}
}

// holes lists the sequence numbers that should be in p or before it and are not.
func (s *Spool) holes(p parsed) []uint64 {
	var out []uint64
	expect := p.header.first
	if len(s.segs) > 0 {
		expect = s.next
	}
	for _, r := range p.records {
		for ; expect < r.seq && len(out) < 1000; expect++ {
			out = append(out, expect)
		}
		expect = r.seq + 1
	}
	return out
}

// salvage copies a damaged segment aside and writes its whole records anew.
func (s *Spool) salvage(name string, b []byte, p *parsed, holes []uint64) error {
	text := fmt.Sprintf("damaged: %d hits saved, %d known lost", len(p.records), len(holes))
	if !p.damaged && p.good == int64(len(b)) {
		// The segment itself is whole; what is missing lay in one before it.
		s.damages = append(s.damages, Damage{Segment: filepath.Base(name), Lost: holes,
			Text: fmt.Sprintf("%d hits before it are lost", len(holes))})
		return nil
	}
	if err := s.keepCopy(name, b, text, holes); err != nil {
		return err
	}
	out := p.header.encode()
	for i, r := range p.records {
		p.records[i].offset = int64(len(out))
		out = append(out, b[r.offset:r.offset+int64(r.size)]...)
	}
	p.good = int64(len(out))
	return replace(name, out)
}

func (s *Spool) setAside(name string, b []byte, text string, lost []uint64) error {
	if err := s.keepCopy(name, b, text, lost); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := durable.SyncDir(s.dir); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

func replace(path string, b []byte) error {
	if err := durable.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

func (s *Spool) keepCopy(name string, b []byte, text string, lost []uint64) error {
	bad := filepath.Join(s.dir, "damaged")
	if err := os.MkdirAll(bad, 0o700); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	kept := filepath.Join(bad, filepath.Base(name)+"."+suffix())
	if err := replace(kept, b); err != nil {
		return err
	}
	s.damages = append(s.damages, Damage{Segment: filepath.Base(name), Kept: kept, Text: text, Lost: lost})
	return nil
}

func suffix() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails on the systems Go supports
	return fmt.Sprintf("%x", b)
}

func (s *Spool) reopenLast() error {
	last := s.segs[len(s.segs)-1]
	f, err := os.OpenFile(last.path, os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.file = f
	return nil
}

// stored is the payload of a record.
type stored struct {
	Hit  api.Hit         `json:"hit"`
	Note json.RawMessage `json:"note,omitempty"`
}

// Append makes a hit durable. It sets AgentID, Epoch and Seq of the hit and
// returns it. note is JSON that Each gives back; it may be nil. On an error the
// hit is not in the spool.
func (s *Spool) Append(hit api.Hit, note []byte) (api.Hit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.rotate(); err != nil {
		return api.Hit{}, err
	}
	hit.SchemaVersion = api.SchemaVersion
	hit.AgentID, hit.Epoch, hit.Seq = s.opts.AgentID, s.header.epochHex(), s.next
	payload, err := json.Marshal(stored{Hit: hit, Note: note})
	if err != nil {
		return api.Hit{}, fmt.Errorf("spool: %w", err)
	}
	if len(payload) > maxPayload {
		return api.Hit{}, fmt.Errorf("spool: a hit of %d bytes is over the limit of %d", len(payload), maxPayload)
	}
	seg := s.segs[len(s.segs)-1]
	rec := encodeRecord(typeHit, s.next, payload)
	_, err = s.file.WriteAt(rec, seg.size)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		s.undo(seg)
		return api.Hit{}, fmt.Errorf("spool: %w", err)
	}
	seg.records = append(seg.records, position{seq: s.next, offset: seg.size, size: len(rec)})
	seg.size += int64(len(rec))
	s.next++
	select {
	case s.more <- struct{}{}:
	default:
	}
	return hit, nil
}

// undo takes back a write that did not complete. After a failed fsync nobody
// knows what the disk holds, so the segment is closed and a new one begun; the
// sequence number is used again there, and load takes the first that is whole.
func (s *Spool) undo(seg *segment) {
	_ = s.file.Truncate(seg.size)
	_ = s.file.Close()
	s.file = nil
	if len(seg.records) == 0 {
		_ = os.Remove(seg.path)
		s.segs = s.segs[:len(s.segs)-1]
	}
}

func (s *Spool) rotate() error {
	if s.file != nil && s.segs[len(s.segs)-1].size < s.opts.SegmentBytes {
		return nil
	}
	path := filepath.Join(s.dir, fmt.Sprintf("seg-%020d.log", s.next))
	h := header{epoch: s.header.epoch, first: s.next}
	if err := replace(path, h.encode()); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if s.file != nil {
		_ = s.file.Close() // every record in it was synced
	}
	s.file = f
	s.segs = append(s.segs, &segment{path: path, size: headerBytes})
	return nil
}

// Close closes the files. Everything appended is on disk already.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}
