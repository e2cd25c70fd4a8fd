package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/zeebo/blake3"
)

// A registry file: magic "WWDB", u16 version, u16 0, u32 number of segments, u32
// number of removed entries; then for each segment its length as u64; then pairs
// of u32 (segment, entry) of the removed; 16 bytes of BLAKE3 over all that; zeros
// up to a multiple of 8; the segments.
const (
	fileMagic   = "WWDB"
	fileVersion = 2 // 1 had narrower bands of content rows
	fileHeader  = 4 + 2 + 2 + 4 + 4
)

func writeFile(w io.Writer, db *DB) (int64, error) {
	var head []byte
	head = append(head, fileMagic...)
	head = binary.LittleEndian.AppendUint16(head, fileVersion)
	head = binary.LittleEndian.AppendUint16(head, 0)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(db.segments)))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(db.removed)))
	for _, s := range db.segments {
		head = binary.LittleEndian.AppendUint64(head, uint64(len(s.raw)))
	}
	for s, seg := range db.segments {
		for i := range seg.entries {
			if db.removed[ref{s, i}] {
				head = binary.LittleEndian.AppendUint32(head, uint32(s))
				head = binary.LittleEndian.AppendUint32(head, uint32(i))
			}
		}
	}
	sum := blake3.Sum256(head)
	head = append(head, sum[:16]...)
	for len(head)%8 != 0 {
		head = append(head, 0)
	}
	total := int64(0)
	for _, part := range append([][]byte{head}, raws(db.segments)...) {
		n, err := w.Write(part)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func raws(segments []*segment) [][]byte {
	out := make([][]byte, len(segments))
	for i, s := range segments {
		out[i] = s.raw
	}
	return out
}

// Decode reads a registry that lies in memory; b must not change while the DB is
// used. The bytes may be an attacker's. Verify checks what Decode leaves for later.
func Decode(b []byte) (*DB, error) {
	if len(b) < fileHeader || string(b[:4]) != fileMagic {
		return nil, fmt.Errorf("%w: no magic", ErrRegistry)
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v != fileVersion {
		return nil, fmt.Errorf("%w: version %d, this program reads version %d: make the snapshot anew", ErrRegistry, v, fileVersion)
	}
	segments, removed := uint64(binary.LittleEndian.Uint32(b[8:])), uint64(binary.LittleEndian.Uint32(b[12:]))
	size := fileHeader + segments*8 + removed*8
	if size+16 > uint64(len(b)) {
		return nil, fmt.Errorf("%w: header of %d bytes in a file of %d", ErrRegistry, size+16, len(b))
	}
	sum := blake3.Sum256(b[:size])
	if !bytes.Equal(sum[:16], b[size:size+16]) {
		return nil, fmt.Errorf("%w: checksum of the header does not match", ErrRegistry)
	}
	db := New()
	at := (size + 16 + 7) &^ 7
	for i := range segments {
		n := binary.LittleEndian.Uint64(b[fileHeader+i*8:])
		if at > uint64(len(b)) || n > uint64(len(b))-at {
			return nil, fmt.Errorf("%w: segment %d of %d bytes goes beyond the end: the file is cut off", ErrRegistry, i, n)
		}
		seg, err := decodeSegment(b[at : at+n])
		if err != nil {
			return nil, fmt.Errorf("segment %d: %w", i, err)
		}
		db.segments = append(db.segments, seg)
		at += n
	}
	marks := b[fileHeader+segments*8 : size]
	for i := 0; i < len(marks); i += 8 {
		r := ref{int(binary.LittleEndian.Uint32(marks[i:])), int(binary.LittleEndian.Uint32(marks[i+4:]))}
		db.removed[r] = true
	}
	return db, nil
}

// Verify checks every checksum of the registry: what Open leaves out so that it
// takes milliseconds.
func (db *DB) Verify() error {
	for i, s := range db.segments {
		if err := s.verify(); err != nil {
			return fmt.Errorf("segment %d: %w", i, err)
		}
		for k := range s.entries {
			if _, err := s.fingerprint(k); err != nil {
				return fmt.Errorf("segment %d: %w", i, err)
			}
		}
	}
	return nil
}
