package ocdbt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"weightwarden/formats"
	"weightwarden/formats/archive/stream"
	"weightwarden/formats/internal/cursor"
)

const (
	manifestMagic = 0x0cdb3a2a
	nodeMagic     = 0x0cdb20de

	// headBytes are magic, length, version and compression; tailBytes the checksum.
	headBytes = 14
	tailBytes = 4

	maxKey = 65535 // bytes of a key, and of a path
	// maxEntries is the format's own bound on the entries of a node.
	maxEntries = 1 << 20
)

// budget bounds the bytes of nodes that are read, unpacked or made of them.
type budget struct{ left int64 }

func (b *budget) spend(n int64) error {
	if b.left -= n; b.left < 0 {
		return fmt.Errorf("%w: the tree is too large", formats.ErrLimit)
	}
	return nil
}

// body reads a manifest or node at an offset, and returns what is inside of its
// frame, unpacked. checked is false where its checksum is another one, which need
// not mean that it is not what a reader sees.
func body(src formats.Source, offset, length int64, magic uint32, b *budget) (text []byte, checked bool, err error) {
	if offset < 0 || length < headBytes+tailBytes || offset > src.Size() || length > src.Size()-offset {
		return nil, false, fmt.Errorf("%w: %d bytes at offset %d of %d", formats.ErrTruncated, length, offset, src.Size())
	}
	if err := b.spend(length); err != nil {
		return nil, false, err
	}
	raw := make([]byte, length)
	if err := formats.ReadFull(src, raw, offset); err != nil {
		return nil, false, err
	}
	if got := binary.BigEndian.Uint32(raw); got != magic {
		return nil, false, fmt.Errorf("%w: begins with %#x", formats.ErrNotRecognized, got)
	}
	if n := binary.LittleEndian.Uint64(raw[4:]); n != uint64(length) {
		return nil, false, fmt.Errorf("%w: %d bytes that call themselves %d", formats.ErrMalformed, length, n)
	}
	if raw[12] != 0 {
		return nil, false, fmt.Errorf("%w: version %d", formats.ErrUnsupported, raw[12])
	}
	end := length - tailBytes
	checked = crc32.Checksum(raw[:end], crc32.MakeTable(crc32.Castagnoli)) == binary.LittleEndian.Uint32(raw[end:])
	switch text = raw[headBytes:end]; raw[13] {
	case 0:
		return text, checked, nil
	case 1:
		text, err = unpacked(text, b)
		return text, checked, err
	}
	return nil, false, fmt.Errorf("%w: compression %d", formats.ErrUnsupported, raw[13])
}

func unpacked(packed []byte, b *budget) ([]byte, error) {
	r, err := stream.Zstd().Reader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", formats.ErrMalformed, err)
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close()
	}
	out, err := io.ReadAll(io.LimitReader(r, b.left+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", formats.ErrMalformed, err)
	}
	return out, b.spend(int64(len(out)))
}

// reader reads the columns of a node.
type reader struct {
	*cursor.Reader
	text []byte
	b    *budget
}

func newReader(text []byte, b *budget) *reader {
	return &reader{cursor.New(formats.BytesSource(text), 0, int64(len(text)), math.MaxInt64), text, b}
}

// column reads n numbers of at most a value, each of at least one byte.
func (r *reader) column(n int, most uint64) ([]uint64, error) {
	if int64(n) > r.Left() {
		return nil, fmt.Errorf("%w: %d entries, %d bytes left", formats.ErrTruncated, n, r.Left())
	}
	if err := r.b.spend(8 * int64(n)); err != nil {
		return nil, err
	}
	out := make([]uint64, n)
	for i := range out {
		var err error
		if out[i], err = r.Uvarint(); err != nil {
			return nil, err
		}
		if out[i] > most {
			return nil, fmt.Errorf("%w: %d where at most %d may be", formats.ErrMalformed, out[i], most)
		}
	}
	return out, nil
}

// bytes returns the next n bytes.
func (r *reader) bytes(n uint64) ([]byte, error) {
	if n > uint64(r.Left()) {
		return nil, fmt.Errorf("%w: %d bytes wanted, %d left", formats.ErrTruncated, n, r.Left())
	}
	out := r.text[r.Offset():][:n]
	return out, r.Skip(int64(n))
}

// count reads how many entries follow.
func (r *reader) count(most uint64) (int, error) {
	n, err := r.column(1, most)
	if err != nil {
		return 0, err
	}
	return int(n[0]), nil
}

// joinedTexts reads n strings of which each leaves out what it shares with the one
// before: lengths of what is shared (but for the first), lengths of the rest, then
// more columns, then the rests.
func (r *reader) joinedTexts(n int, more func() error) ([]string, error) {
	shared, err := r.column(max(n-1, 0), maxKey)
	if err != nil {
		return nil, err
	}
	rest, err := r.column(n, maxKey)
	if err != nil {
		return nil, err
	}
	if err := more(); err != nil {
		return nil, err
	}
	out := make([]string, n)
	before := ""
	for i := range out {
		b, err := r.bytes(rest[i])
		if err != nil {
			return nil, err
		}
		keep := uint64(0)
		if i > 0 {
			keep = shared[i-1]
		}
		if keep > uint64(len(before)) || keep+rest[i] > maxKey {
			return nil, fmt.Errorf("%w: a key of %d + %d bytes after one of %d", formats.ErrMalformed, keep, rest[i], len(before))
		}
		if err := r.b.spend(int64(keep+rest[i]) + 16); err != nil {
			return nil, err
		}
		before = before[:keep] + string(b)
		out[i] = before
	}
	return out, nil
}

// dataFile is a file that a node names: where its own files are looked for, and the
// whole name, both below the folder of the manifest.
type dataFile struct{ base, path string }

// files reads the table of files of a node that was itself found below base.
func (r *reader) files(base string) ([]dataFile, error) {
	n, err := r.count(maxEntries)
	if err != nil {
		return nil, err
	}
	var lengths []uint64
	paths, err := r.joinedTexts(n, func() (err error) {
		lengths, err = r.column(n, maxKey)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]dataFile, n)
	for i, p := range paths {
		if lengths[i] > uint64(len(p)) || len(base)+len(p) > maxKey {
			return nil, fmt.Errorf("%w: a path of %d bytes", formats.ErrMalformed, len(p))
		}
		if err := r.b.spend(int64(len(base) + len(p))); err != nil {
			return nil, err
		}
		whole := base + p
		out[i] = dataFile{whole[:len(base)+int(lengths[i])], whole}
	}
	return out, nil
}

// ref is where a node or value lies; inline holds a value that is in the node.
type ref struct {
	file           dataFile
	offset, length int64
	inline         []byte
}

// entry is a key, or with child set what is below the keys from it on.
type entry struct {
	key    string // relative to the prefix of the node
	shared int    // bytes of key that all below share
	ref
}

// node is one node of the B+tree: height 0 has values.
type node struct {
	height  byte
	entries []entry
}

// parseNode reads the inside of a B+tree node that was found in a file.
func parseNode(text []byte, base string, b *budget) (*node, error) {
	r := newReader(text, b)
	height, err := r.U8()
	if err != nil {
		return nil, err
	}
	files, err := r.files(base)
	if err != nil {
		return nil, err
	}
	n, err := r.count(maxEntries)
	if err != nil {
		return nil, err
	}
	if err := b.spend(128 * min(int64(n), r.Left())); err != nil {
		return nil, err
	}
	out := &node{height: height}
	if height > 0 {
		out.entries, err = r.children(n, files)
	} else {
		out.entries, err = r.values(n, files)
	}
	return out, err
}

// children reads the entries of an inner node.
func (r *reader) children(n int, files []dataFile) ([]entry, error) {
	var shared []uint64
	keys, err := r.joinedTexts(n, func() (err error) {
		shared, err = r.column(n, maxKey)
		return err
	})
	if err != nil {
		return nil, err
	}
	refs, err := r.refs(n, files, true)
	if err != nil {
		return nil, err
	}
	out := make([]entry, n)
	for i := range out {
		if shared[i] > uint64(len(keys[i])) {
			return nil, fmt.Errorf("%w: a key of %d bytes that shares %d", formats.ErrMalformed, len(keys[i]), shared[i])
		}
		out[i] = entry{keys[i], int(shared[i]), refs[i]}
	}
	return out, nil
}

// refs reads columns of places.
func (r *reader) refs(n int, files []dataFile, withLength bool) ([]ref, error) {
	ids, err := r.column(n, math.MaxUint64)
	if err != nil {
		return nil, err
	}
	offsets, err := r.column(n, math.MaxUint64)
	if err != nil {
		return nil, err
	}
	lengths := make([]uint64, n)
	if withLength {
		if lengths, err = r.column(n, math.MaxUint64); err != nil {
			return nil, err
		}
	}
	out := make([]ref, n)
	for i := range out {
		switch {
		case offsets[i] == math.MaxUint64:
			out[i].offset = -1 // nothing is there
			continue
		case ids[i] >= uint64(len(files)) || offsets[i] > math.MaxInt64 || lengths[i] > math.MaxInt64:
			return nil, fmt.Errorf("%w: byte %d of file %d of %d", formats.ErrMalformed, offsets[i], ids[i], len(files))
		}
		out[i] = ref{file: files[ids[i]], offset: int64(offsets[i]), length: int64(lengths[i])}
	}
	return out, nil
}

// values reads the entries of a leaf.
func (r *reader) values(n int, files []dataFile) ([]entry, error) {
	keys, err := r.joinedTexts(n, func() error { return nil })
	if err != nil {
		return nil, err
	}
	lengths, err := r.column(n, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	kinds, err := r.column(n, 1)
	if err != nil {
		return nil, err
	}
	elsewhere := 0
	for _, k := range kinds {
		elsewhere += int(k)
	}
	refs, err := r.refs(elsewhere, files, false)
	if err != nil {
		return nil, err
	}
	out := make([]entry, n)
	for i := range out {
		out[i].key, out[i].length = keys[i], int64(lengths[i])
		if kinds[i] == 1 {
			out[i].file, out[i].offset = refs[0].file, refs[0].offset
			refs = refs[1:]
		} else if out[i].inline, err = r.bytes(lengths[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// manifest is what a manifest says of the last version.
type manifest struct {
	numbered bool // the versions are in files of their own
	versions int  // that are listed; earlier ones count as well in earlier
	earlier  bool
	root     ref
	height   byte
}

// parseManifest reads the inside of a manifest.
func parseManifest(text []byte, b *budget) (*manifest, error) {
	r := newReader(text, b)
	m := &manifest{}
	if err := r.config(m); err != nil || m.numbered {
		return m, err
	}
	files, err := r.files("")
	if err != nil {
		return nil, err
	}
	if m.versions, err = r.count(maxEntries); err != nil {
		return nil, err
	}
	if _, err := r.column(m.versions, math.MaxUint64); err != nil { // generations
		return nil, err
	}
	heights, err := r.bytes(uint64(m.versions))
	if err != nil {
		return nil, err
	}
	refs, err := r.refs(m.versions, files, true)
	if err != nil {
		return nil, err
	}
	if m.versions == 0 {
		return nil, fmt.Errorf("%w: no version", formats.ErrMalformed)
	}
	last := m.versions - 1
	m.root, m.height = refs[last], heights[last]
	// Keys, bytes of trees and of values, and the time, of each version; then the
	// nodes of earlier ones.
	for range 3 {
		if _, err := r.column(m.versions, math.MaxUint64); err != nil {
			return nil, err
		}
	}
	if _, err := r.bytes(8 * uint64(m.versions)); err != nil {
		return nil, err
	}
	n, err := r.count(maxEntries)
	m.earlier = n > 0
	return m, err
}

// config reads the settings in front of a manifest.
func (r *reader) config(m *manifest) error {
	if _, err := r.bytes(16); err != nil { // the database's number
		return err
	}
	kind, err := r.U8()
	if err != nil {
		return err
	}
	if kind > 1 {
		return fmt.Errorf("%w: a manifest of kind %d", formats.ErrUnsupported, kind)
	}
	m.numbered = kind == 1
	if _, err := r.column(2, math.MaxUint32); err != nil { // sizes for writers
		return err
	}
	if _, err := r.U8(); err != nil { // arity of the tree of versions
		return err
	}
	packed, err := r.count(1)
	if err == nil && packed == 1 {
		_, err = r.bytes(4) // level
	}
	return err
}
