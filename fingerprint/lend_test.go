package fingerprint_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"weightwarden/fingerprint"
	"weightwarden/formats"
	osfile "weightwarden/formats/file"
)

// stingy lends the first bytes only.
type stingy struct {
	formats.BytesSource
	most int64
}

func (s *stingy) Lend(off, length int64, use func([]byte) error) (bool, error) {
	if off+length > s.most {
		return false, nil
	}
	return s.BytesSource.Lend(off, length, use)
}

// on is the model with its bytes in another source.
func on(m *formats.Model, src formats.Source) *formats.Model {
	out := *m
	out.Tensors = append([]formats.Tensor(nil), m.Tensors...)
	for i := range out.Tensors {
		out.Tensors[i].Data.Source = src
	}
	return &out
}

// A fingerprint does not depend on whether bytes were copied, used where they lie, or first this and then that.
func TestLentAndReadAreOne(t *testing.T) {
	src, m := network(3, 5000, 2600) // 26 MB each: several windows, rows that straddle them
	data := src.(formats.BytesSource)
	for _, opt := range []fingerprint.Options{{}, {Lean: true}} {
		var want []byte
		for _, most := range []int64{0, 1 << 40, 30 << 20, 60<<20 + 1} {
			s := &stingy{data, most}
			for _, m := range []*formats.Model{on(m, s), nil} {
				if m == nil && most < 1<<40 {
					continue
				}
				fp, err := fingerprint.Compute(context.Background(), s, m, opt)
				if err != nil || fp.UnreadBytes > 0 || fp.BytesRead < s.Size() || fp.BytesRead > s.Size()+3<<20 { // what no cut ended is read again
					t.Fatalf("%v, %d bytes unread, %d read of %d", err, fp.UnreadBytes, fp.BytesRead, s.Size())
				}
				if m == nil {
					continue
				}
				got := fp.Encode()
				if want == nil {
					want = got
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%+v: with %d bytes lent the fingerprint is another", opt, most)
				}
			}
		}
	}
}

// A file that is cut short while its bytes are used where they lie is told as not read in whole, and ends nothing else.
func TestFileShrinksUnderTheWork(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be made shorter there")
	}
	src, m := network(4, 5000, 2600)
	for _, left := range []int64{0, 9 << 20, 40<<20 + 5} {
		path := filepath.Join(t.TempDir(), "model")
		if err := os.WriteFile(path, src.(formats.BytesSource), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := osfile.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		cut := false
		fp, err := fingerprint.Compute(context.Background(), f, on(m, f), fingerprint.Options{Jobs: 1, Progress: func(int64) {
			if !cut {
				cut = os.Truncate(path, left) == nil
			}
		}})
		f.Close()
		if err != nil || !cut {
			t.Fatal(err)
		}
		if fp.UnreadBytes < src.Size()-max(left, 9<<20) || !strings.Contains(strings.Join(fp.Notes, "\n"), "not read") {
			t.Errorf("cut to %d of %d: %d unread, %q", left, src.Size(), fp.UnreadBytes, fp.Notes)
		}
	}
}
