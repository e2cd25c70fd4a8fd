package spool

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weightwarden/internal/api"
)

func open(t *testing.T, dir string, opts Options) *Spool {
	t.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func appendN(t *testing.T, s *Spool, n int) {
	t.Helper()
	for range n {
		if _, err := s.Append(api.Hit{Event: "write", Verdict: api.Verdict{Path: "/data/x", Model: "aurora"}}, []byte(`{"k":1}`)); err != nil {
			t.Fatal(err)
		}
	}
}

func seqs(t *testing.T, s *Spool) []uint64 {
	t.Helper()
	hits, err := s.Batch(1000, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	var out []uint64
	for _, h := range hits {
		out = append(out, h.Seq)
	}
	return out
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "seg-*.log"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestAppendDeliverAck(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{AgentID: "a1"})
	appendN(t, s, 3)
	hits, err := s.Batch(2, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if len(hits) != 2 || hits[0].Seq != 1 || hits[1].Seq != 2 || hits[0].AgentID != "a1" || hits[0].Epoch != s.Epoch() || hits[0].Verdict.Model != "aurora" {
		t.Fatalf("batch is %+v", hits)
	}
	if err := s.Ack(2); err != nil {
		t.Fatal(err)
	}
	if err := s.Ack(9); err == nil {
		t.Fatal("an acknowledgement of a hit that was never made passed")
	}
	s.Close()
	s = open(t, dir, Options{AgentID: "a1"})
	if got := s.Info().Pending; got != 1 {
		t.Fatalf("pending %d, want 1", got)
	}
	if diff := cmp.Diff([]uint64{3}, seqs(t, s)); diff != "" {
		t.Fatal(diff)
	}
	appendN(t, s, 1)
	if diff := cmp.Diff([]uint64{3, 4}, seqs(t, s)); diff != "" {
		t.Fatal(diff)
	}
}

func TestSegmentsGoAfterAck(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{SegmentBytes: 300})
	appendN(t, s, 20)
	before := len(segments(t, dir))
	if before < 5 {
		t.Fatalf("%d segments", before)
	}
	if err := s.Ack(20); err != nil {
		t.Fatal(err)
	}
	if got := len(segments(t, dir)); got != 2 {
		t.Fatalf("%d segments left, want 2", got)
	}
	epoch := s.Epoch()
	s.Close()
	s = open(t, dir, Options{SegmentBytes: 300})
	appendN(t, s, 1)
	if diff := cmp.Diff([]uint64{21}, seqs(t, s)); diff != "" || s.Epoch() != epoch {
		t.Fatalf("%s epoch %s, was %s", diff, s.Epoch(), epoch)
	}
}

// TestEveryCut cuts the log at every length: whatever a crash leaves, the whole
// records are there and the next hit takes the next number.
func TestEveryCut(t *testing.T) {
	src := t.TempDir()
	s := open(t, src, Options{})
	appendN(t, s, 3)
	name := segments(t, src)[0]
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := parseSegment(whole)
	if err != nil {
		t.Fatal(err)
	}
	for n := headerBytes; n <= len(whole); n += 7 {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		want := []uint64{}
		for _, r := range p.records {
			if r.offset+int64(r.size) <= int64(n) {
				want = append(want, r.seq)
			}
		}
		c := open(t, dir, Options{})
		if got := seqs(t, c); len(got) != len(want) {
			t.Fatalf("cut at %d: have %v, want %v", n, got, want)
		}
		h, err := c.Append(api.Hit{Event: "write"}, nil)
		if err != nil || h.Seq != uint64(len(want))+1 {
			t.Fatalf("cut at %d: next hit is %d, %v", n, h.Seq, err)
		}
	}
}

func TestDamage(t *testing.T) {
	tests := []struct {
		name    string
		damage  func(b []byte, p parsed) []byte
		want    []uint64
		lost    []uint64
		damages int
	}{
		{"flipped bit in the second", func(b []byte, p parsed) []byte {
			b[p.records[1].offset+40] ^= 1
			return b
		}, []uint64{1, 3, 4, 5, 6}, []uint64{2}, 1},
		{"length bomb in the second", func(b []byte, p parsed) []byte {
			copy(b[p.records[1].offset:], "\xff\xff\xff\xff")
			return b
		}, []uint64{1, 3, 4, 5, 6}, []uint64{2}, 1},
		{"header gone", func(b []byte, p parsed) []byte {
			b[0] = 'X'
			return b
		}, []uint64{4, 5, 6}, nil, 1},
		{"zeros", func(b []byte, p parsed) []byte {
			clear(b[p.records[1].offset:])
			return b
		}, []uint64{1, 4, 5, 6}, []uint64{2, 3}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{SegmentBytes: 1500})
			appendN(t, s, 6)
			s.Close()
			name := segments(t, dir)[0]
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			p, err := parseSegment(b)
			if err != nil || len(p.records) != 3 {
				t.Fatalf("first segment holds %d records, %v", len(p.records), err)
			}
			if err := os.WriteFile(name, tt.damage(b, p), 0o600); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, Options{SegmentBytes: 1500})
			if diff := cmp.Diff(tt.want, seqs(t, s)); diff != "" {
				t.Error(diff)
			}
			var lost []uint64
			damages := s.Damages()
			for _, d := range damages {
				lost = append(lost, d.Lost...)
			}
			if len(damages) != tt.damages || !cmp.Equal(tt.lost, lost) {
				t.Errorf("damages %+v", damages)
			}
			if h, err := s.Append(api.Hit{}, nil); err != nil || h.Seq != 7 {
				t.Errorf("next hit %d, %v", h.Seq, err)
			}
			s.Close()
			if again := open(t, dir, Options{}).Damages(); len(again) > tt.damages {
				t.Errorf("damage is found again after the repair: %+v", again)
			}
		})
	}
}

func TestCursorDamagedDeliversAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	appendN(t, s, 2)
	if err := s.Ack(2); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.cursorPath(), []byte(`{"epoch":"x","acked":99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir, Options{})
	if diff := cmp.Diff([]uint64{1, 2}, seqs(t, s)); diff != "" {
		t.Fatal(diff)
	}
	if damages := s.Damages(); len(damages) != 1 {
		t.Fatalf("damages %+v", damages)
	}
}

// TestDamagedWhileOpen: what becomes unreadable under an open spool is told once,
// and stands in the way of nothing else.
func TestDamagedWhileOpen(t *testing.T) {
	for name, tt := range map[string]struct {
		damage func(name string, second position) error
		lost   []uint64
	}{
		"a record": {func(name string, second position) error {
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte("rotten"), second.offset+recordBytes)
			return err
		}, []uint64{2}},
		"cut":     {func(name string, second position) error { return os.Truncate(name, second.offset+1) }, []uint64{2, 3}},
		"removed": {func(name string, _ position) error { return os.Remove(name) }, []uint64{1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{SegmentBytes: 1500})
			appendN(t, s, 4)
			first := segments(t, dir)[0]
			if n := len(s.segs[0].records); n != 3 {
				t.Fatalf("the first segment holds %d records", n)
			}
			if err := tt.damage(first, s.segs[0].records[1]); err != nil {
				t.Fatal(err)
			}
			want := []uint64{}
			for seq := uint64(1); seq <= 4; seq++ {
				if !slices.Contains(tt.lost, seq) {
					want = append(want, seq)
				}
			}
			for range 2 {
				if diff := cmp.Diff(want, seqs(t, s)); diff != "" {
					t.Error(diff)
				}
			}
			var lost []uint64
			for _, d := range s.Damages() {
				lost = append(lost, d.Lost...)
			}
			if again := s.Damages(); !cmp.Equal(tt.lost, lost) || len(again) != 0 {
				t.Errorf("lost %v, want %v; told again: %+v", lost, tt.lost, again)
			}
			if got := s.Info().Pending; got != int64(len(want)) {
				t.Errorf("%d wait, want %d", got, len(want))
			}
			appendN(t, s, 1)
			if diff := cmp.Diff(append(want, 5), seqs(t, s)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRemovedWhileWritten: what goes into a segment without a name is not taken for
// durable once that is noticed, and the next hit goes into one with a name.
func TestRemovedWhileWritten(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	appendN(t, s, 2)
	if err := os.Remove(segments(t, dir)[0]); err != nil {
		t.Fatal(err)
	}
	appendN(t, s, 1)
	if got := seqs(t, s); len(got) != 0 {
		t.Errorf("hits %v of a segment that is gone", got)
	}
	if d := s.Damages(); len(d) != 1 || !cmp.Equal(d[0].Lost, []uint64{1, 2, 3}) {
		t.Errorf("damages %+v", d)
	}
	appendN(t, s, 1)
	s.Close()
	if diff := cmp.Diff([]uint64{4}, seqs(t, open(t, dir, Options{}))); diff != "" {
		t.Error(diff)
	}
}

func TestFailedWriteKeepsNumbers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	appendN(t, s, 1)
	s.file.Close() // the next write fails as on a broken disk
	if _, err := s.Append(api.Hit{}, nil); err == nil {
		t.Fatal("no error")
	}
	appendN(t, s, 1)
	s.Close()
	s = open(t, dir, Options{})
	if diff := cmp.Diff([]uint64{1, 2}, seqs(t, s)); diff != "" {
		t.Fatal(diff)
	}
}

func FuzzParseSegment(f *testing.F) {
	h := header{epoch: [16]byte{1}, first: 1}
	b := append(h.encode(), encodeRecord(typeHit, 1, []byte(`{"event":"write"}`))...)
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseSegment(b)
		if err != nil {
			return
		}
		end := int64(headerBytes)
		last := p.header.first - 1
		for _, r := range p.records {
			if r.offset < end || r.offset+int64(r.size) > int64(len(b)) || r.seq <= last {
				t.Fatalf("record %+v behind %d, %d", r, end, last)
			}
			end, last = r.offset+int64(r.size), r.seq
		}
	})
}
