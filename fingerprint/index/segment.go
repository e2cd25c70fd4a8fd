package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync"

	"github.com/zeebo/blake3"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/sketch"
)

// segment is an immutable part of a registry: entries, their encoded
// fingerprints and the look-up tables. All but entries are slices of one block
// of bytes, mapped or in memory.
type segment struct {
	raw     []byte // the whole segment as it is written
	mapped  bool   // raw is mapped from a file
	entries []Entry
	blobs   [][]byte // encoded fingerprints
	chunks  table    // first 8 bytes of chunk keys -> entry
	aligned table    // bands of aligned rows -> entry
	content table    // bands of the largest rows -> entry
	vectors *vectors // of the layers; nil in registries made before there were any

	shapesOnce sync.Once
	shapes     map[int64][]fingerprint.Shape
	high       map[int64][]fingerprint.Shape // by their rows
	lengths    map[int64]float64             // of rows -> their share of the numbers, summed over entries

	mu      sync.Mutex
	decoded map[int]*fingerprint.Fingerprint
}

// The sections of a segment, in order.
const (
	sectionEntries = iota
	sectionBlobs
	sectionChunks
	sectionAligned
	sectionContent
	sectionVectors // not in the first registries; programs skip sections that they do not know

	leastSections = sectionVectors
)

// meta is an entry as it is stored, one JSON object each: few, small, and open
// to new fields.
type meta struct {
	ID         string `json:"id,omitempty"`
	Model      string `json:"model"`
	Version    string `json:"version"`
	Kind       string `json:"kind"`
	Artifact   string `json:"artifact"`
	Size       int64  `json:"size"`
	Tensors    int    `json:"tensors"`
	Parameters int64  `json:"parameters"`
	Content    string `json:"content"`
	Bytes      int64  `json:"bytes"` // of the encoded fingerprint
}

func metaOf(e *Entry, blob []byte) meta {
	return meta{ID: e.ID, Model: e.Model, Version: e.Version, Kind: e.Kind, Artifact: e.Artifact, Size: e.Size,
		Tensors: e.Tensors, Parameters: e.Parameters, Content: e.Content.String(), Bytes: int64(len(blob))}
}

// alignedRows is how many rows of each aligned sample have their bands indexed.
// Of a 7B model that is 1,800 rows: even copies at a cosine of .5 give some fifty
// true votes.
const alignedRows = 8

func newSegment(entries []Entry) (*segment, error) {
	var parts [sectionVectors + 1][]byte
	var chunks, aligned, content builder
	for i := range entries {
		e := &entries[i]
		fp := e.Fingerprint
		blob := fp.Encode()
		stored := *e
		stored.Size, stored.Tensors, stored.Parameters, stored.Content = fp.Size, len(fp.Tensors), fp.Parameters(), fp.Content()
		line, err := json.Marshal(metaOf(&stored, blob))
		if err != nil {
			return nil, err
		}
		parts[sectionEntries] = append(append(parts[sectionEntries], line...), '\n')
		parts[sectionBlobs] = append(parts[sectionBlobs], blob...)
		chunks.addChunks(fp, uint32(i))
		for t := range fp.Tensors {
			if s := fp.Tensors[t].Sketch; s != nil && fp.Tensors[t].Constant == "" {
				aligned.addRows(s, s.Aligned[:min(len(s.Aligned), alignedRows)], alignedBands(), uint32(i))
				content.addRows(s, s.Content, contentBands(), uint32(i))
			}
		}
	}
	parts[sectionChunks] = chunks.encode()
	parts[sectionAligned] = aligned.encode()
	parts[sectionContent] = content.encode()
	parts[sectionVectors] = encodeVectors(entries)
	return decodeSegment(joinSections(parts[:]))
}

// joinSections puts a table of lengths and checksums in front of the sections.
func joinSections(parts [][]byte) []byte {
	size := 4 + 8 + 24*len(parts)
	for _, p := range parts {
		size += len(p) + 8
	}
	out := make([]byte, 0, size)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(parts)))
	for _, p := range parts {
		sum := blake3.Sum256(p)
		out = binary.LittleEndian.AppendUint64(out, uint64(len(p)))
		out = append(out, sum[:16]...)
	}
	for len(out)%8 != 0 {
		out = append(out, 0)
	}
	for _, p := range parts {
		out = append(out, p...)
		for len(out)%8 != 0 {
			out = append(out, 0)
		}
	}
	return out
}

// decodeSegment reads a segment. The entries are checked at once; the tables and
// fingerprints are bounds-checked when they are used, and their checksums by
// Verify.
func decodeSegment(raw []byte) (*segment, error) {
	parts, err := splitSections(raw)
	if err != nil {
		return nil, err
	}
	s := &segment{raw: raw, decoded: make(map[int]*fingerprint.Fingerprint)}
	sum := blake3.Sum256(parts[sectionEntries])
	if !bytes.Equal(sum[:16], raw[4+8:4+24]) {
		return nil, fmt.Errorf("%w: checksum of the entries does not match", ErrRegistry)
	}
	blobs := parts[sectionBlobs]
	for line := range bytes.Lines(parts[sectionEntries]) {
		var m meta
		if err := json.Unmarshal(line, &m); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %v", ErrRegistry, len(s.entries), err)
		}
		if m.Bytes < 0 || m.Bytes > int64(len(blobs)) {
			return nil, fmt.Errorf("%w: entry %d: fingerprint of %d bytes in %d", ErrRegistry, len(s.entries), m.Bytes, len(blobs))
		}
		content, err := fingerprint.ParseDigest(m.Content)
		if err != nil {
			return nil, fmt.Errorf("%w: entry %d: %v", ErrRegistry, len(s.entries), err)
		}
		s.entries = append(s.entries, Entry{ID: m.ID, Model: m.Model, Version: m.Version, Kind: m.Kind, Artifact: m.Artifact,
			Size: m.Size, Tensors: m.Tensors, Parameters: m.Parameters, Content: content})
		s.blobs = append(s.blobs, blobs[:m.Bytes])
		blobs = blobs[m.Bytes:]
	}
	for _, t := range []struct {
		to      *table
		section int
	}{{&s.chunks, sectionChunks}, {&s.aligned, sectionAligned}, {&s.content, sectionContent}} {
		if *t.to, err = decodeTable(parts[t.section]); err != nil {
			return nil, err
		}
	}
	if len(parts) > sectionVectors {
		if s.vectors, err = decodeVectors(parts[sectionVectors], len(s.entries)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func splitSections(raw []byte) ([][]byte, error) {
	const row = 24
	if len(raw) < 4 {
		return nil, fmt.Errorf("%w: segment of %d bytes", ErrRegistry, len(raw))
	}
	n := int(binary.LittleEndian.Uint32(raw))
	if n < leastSections || n > (len(raw)-4)/row {
		return nil, fmt.Errorf("%w: segment with %d sections", ErrRegistry, n)
	}
	at := (4 + n*row + 7) &^ 7
	parts := make([][]byte, n)
	for i := range parts {
		size := binary.LittleEndian.Uint64(raw[4+i*row:])
		if at > len(raw) || size > uint64(len(raw)-at) {
			return nil, fmt.Errorf("%w: section %d of %d bytes goes beyond the end", ErrRegistry, i, size)
		}
		parts[i] = raw[at : at+int(size)]
		at = (at + int(size) + 7) &^ 7
	}
	return parts, nil
}

// verify checks every checksum of the segment.
func (s *segment) verify() error {
	parts, err := splitSections(s.raw)
	if err != nil {
		return err
	}
	for i, p := range parts {
		sum := blake3.Sum256(p)
		if !bytes.Equal(sum[:16], s.raw[4+i*24+8:4+i*24+24]) {
			return fmt.Errorf("%w: checksum of section %d does not match", ErrRegistry, i)
		}
	}
	return nil
}

// keptDecoded bounds the decoded fingerprints that a segment keeps.
const keptDecoded = 64

// fingerprint decodes the fingerprint of an entry, whose own checksum is
// verified on the way. The last few are kept: the same suspects come again.
func (s *segment) fingerprint(i int) (*fingerprint.Fingerprint, error) {
	s.mu.Lock()
	fp := s.decoded[i]
	s.mu.Unlock()
	if fp != nil {
		return fp, nil
	}
	fp, err := fingerprint.Decode(s.blobs[i])
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", s.entries[i].Model, s.entries[i].Version, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.decoded) >= keptDecoded {
		clear(s.decoded)
	}
	s.decoded[i] = fp
	return fp, nil
}

// builder collects the rows of a table.
type builder struct{ rows []row }

type row struct {
	key   uint64
	entry uint32
}

// addChunks takes the chunks of tensors that are evidence. Registries of any
// files (data sets) have no tensors: all their chunks count.
func (b *builder) addChunks(fp *fingerprint.Fingerprint, entry uint32) {
	wanted := make([]bool, len(fp.Pieces))
	for i := range fp.Tensors {
		for _, p := range fp.Tensors[i].Pieces {
			wanted[p] = wanted[p] || fp.Tensors[i].Constant == ""
		}
	}
	for p := range fp.Pieces {
		for _, c := range fp.Pieces[p].Chunks {
			if (wanted[p] || len(fp.Tensors) == 0) && !c.Plain() && c.Key != (fingerprint.ChunkKey{}) {
				b.rows = append(b.rows, row{binary.LittleEndian.Uint64(c.Key[:]), entry})
			}
		}
	}
}

func (b *builder) addRows(s *sketch.Tensor, rows []sketch.Row, of bands, entry uint32) {
	for i := range rows {
		of.each(s.Length, &rows[i], s.Buckets, func(k uint64) { b.rows = append(b.rows, row{k, entry}) })
	}
}

// bands of a row: width in bits, and how the table key of one is made.
type bands struct {
	width int
	key   func(length, index int64, band int, bits uint64) uint64
}

// alignedBands know the row's number, so that 16 bits tell models apart.
func alignedBands() bands {
	return bands{16, func(length, index int64, band int, bits uint64) uint64 {
		return mix(uint64(length)<<40 ^ uint64(index)<<20 ^ uint64(band)<<16 ^ bits ^ 0xa11a<<48)
	}}
}

// contentBands do not: the rows of all models of one width share their keys, and
// 24 bits keep the chance ones to one in four among a thousand 7B-size models.
func contentBands() bands {
	return bands{sketch.SlideBits, func(length, _ int64, band int, bits uint64) uint64 {
		return mix(uint64(length)<<32 ^ uint64(band)<<24 ^ bits ^ 0xc047<<48)
	}}
}

// each calls f with the key of every band of a row that is evidence.
func (b bands) each(length int64, r *sketch.Row, buckets int, f func(uint64)) {
	if r.Norm <= 0 {
		return
	}
	for band := range buckets / b.width {
		at := band * b.width
		bits := r.Bits[at/64] >> (at % 64)
		if rest := 64 - at%64; rest < b.width && at/64+1 < len(r.Bits) {
			bits |= r.Bits[at/64+1] << rest
		}
		f(b.key(length, r.Index, band, bits&(1<<b.width-1)))
	}
}

// append adds the keys of every band of rows.
func (b bands) append(keys []uint64, length int64, buckets int, rows []sketch.Row) []uint64 {
	for i := range rows {
		b.each(length, &rows[i], buckets, func(key uint64) { keys = append(keys, key) })
	}
	return keys
}

// mix is the finaliser of splitmix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// encode sorts the rows and writes keys, then entries.
func (b *builder) encode() []byte {
	slices.SortFunc(b.rows, func(x, y row) int {
		return cmp.Or(cmp.Compare(x.key, y.key), cmp.Compare(x.entry, y.entry))
	})
	b.rows = slices.Compact(b.rows)
	out := make([]byte, 0, 8+12*len(b.rows))
	out = binary.LittleEndian.AppendUint64(out, uint64(len(b.rows)))
	for _, r := range b.rows {
		out = binary.LittleEndian.AppendUint64(out, r.key)
	}
	for _, r := range b.rows {
		out = binary.LittleEndian.AppendUint32(out, r.entry)
	}
	return out
}

// table is a sorted list of keys with the entry of each.
type table struct{ keys, entries []byte }

func decodeTable(b []byte) (table, error) {
	if len(b) < 8 {
		return table{}, fmt.Errorf("%w: table of %d bytes", ErrRegistry, len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	if n > uint64(len(b)-8)/12 || uint64(len(b)-8) != n*12 {
		return table{}, fmt.Errorf("%w: table of %d rows in %d bytes", ErrRegistry, n, len(b))
	}
	return table{keys: b[8 : 8+n*8], entries: b[8+n*8:]}, nil
}

func (t table) len() int           { return len(t.entries) / 4 }
func (t table) key(i int) uint64   { return binary.LittleEndian.Uint64(t.keys[i*8:]) }
func (t table) entry(i int) uint32 { return binary.LittleEndian.Uint32(t.entries[i*4:]) }

// find calls f with every entry of key.
func (t table) find(key uint64, f func(entry uint32)) {
	for i := t.first(key); i < t.len() && t.key(i) == key; i++ {
		f(t.entry(i))
	}
}

// has reports whether a key is there.
func (t table) has(key uint64) bool {
	i := t.first(key)
	return i < t.len() && t.key(i) == key
}

// first is the number of the first row whose key is not below key. Keys are hashes
// and lie evenly, so a guess by proportion comes near at once; a table that was made
// to defeat the guesses costs a few steps more than halving alone.
func (t table) first(key uint64) int { return t.from(0, 0, key) }

// from is first where the rows before lo are known to have keys below another, which is not above key.
func (t table) from(lo int, below, key uint64) int {
	hi, above := t.len(), uint64(math.MaxUint64) // the row looked for is in [lo, hi]
	for guesses := 8; lo < hi; guesses-- {
		mid := int(uint(lo+hi) >> 1)
		if guesses > 0 && hi-lo > 8 && key >= below && above > below {
			share, _ := bits.Mul64(uint64(hi-lo), fraction(key-below, above-below))
			mid = min(lo+int(share), hi-1)
		}
		if k := t.key(mid); k < key {
			lo, below = mid+1, k
		} else {
			hi, above = mid, k
		}
	}
	return lo
}

// fraction is a/b in units of 2^-64, for a <= b.
func fraction(a, b uint64) uint64 {
	if a >= b {
		return math.MaxUint64
	}
	q, _ := bits.Div64(a, 0, b)
	return q
}
