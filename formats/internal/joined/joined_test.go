package joined

import (
	"bytes"
	"io"
	"testing"

	"weightwarden/formats"
)

func TestReadAt(t *testing.T) {
	s := New(formats.BytesSource("abc"), formats.BytesSource(""), formats.BytesSource("d"), formats.BytesSource("efgh"), formats.BytesSource(""))
	const want = "abcdefgh"
	if s.Size() != int64(len(want)) {
		t.Errorf("size %d", s.Size())
	}
	for off := range len(want) + 1 {
		for n := range len(want) + 2 {
			b := make([]byte, n)
			got, err := s.ReadAt(b, int64(off))
			full := min(n, len(want)-off)
			if got != full || !bytes.Equal(b[:got], []byte(want[off:off+full])) || (got < n) != (err == io.EOF) {
				t.Errorf("ReadAt(%d, %d) = %d %q, %v", n, off, got, b[:got], err)
			}
		}
	}
	if n, err := New().ReadAt(make([]byte, 1), 0); n != 0 || err != io.EOF {
		t.Errorf("nothing joined: %d, %v", n, err)
	}
}
