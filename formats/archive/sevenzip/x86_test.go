package sevenzip

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

// The filter gives the same bytes whatever the pieces are that it reads.
func FuzzX86(f *testing.F) {
	f.Add([]byte("\xe8\x00\x10\x00\x00 \xe9\xe8\xe8\xff\xff\xff\xff\xe8"))
	f.Add(bytes.Repeat([]byte{0xe8, 0, 0xe9, 0xff, 0}, 2000))
	f.Fuzz(func(t *testing.T, data []byte) {
		whole, err := io.ReadAll(newX86Reader(bytes.NewReader(data)))
		if err != nil || len(whole) != len(data) {
			t.Fatalf("%d bytes of %d, %v", len(whole), len(data), err)
		}
		for _, r := range []io.Reader{iotest.OneByteReader(bytes.NewReader(data)), iotest.HalfReader(bytes.NewReader(data)), iotest.DataErrReader(bytes.NewReader(data))} {
			if pieces, err := io.ReadAll(newX86Reader(r)); err != nil || !bytes.Equal(pieces, whole) {
				t.Fatalf("in pieces %x, %v; as a whole %x", pieces, err, whole)
			}
		}
	})
}
