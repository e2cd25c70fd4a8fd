package spool

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	magic       = "WWSPOOL1"
	headerBytes = 40
	recordBytes = 17      // before the payload
	maxPayload  = 4 << 20 // of one record; a hit is a few KiB, at most some hundred
	typeHit     = 1
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

var (
	errTorn    = errors.New("record ends early")
	errDamaged = errors.New("record is damaged")
)

// header is the start of a segment.
type header struct {
	epoch [16]byte
	first uint64
}

func (h header) encode() []byte {
	b := make([]byte, headerBytes)
	copy(b, magic)
	copy(b[8:], h.epoch[:])
	binary.LittleEndian.PutUint64(b[24:], h.first)
	binary.LittleEndian.PutUint32(b[36:], crc32.Checksum(b[:36], castagnoli()))
	return b
}

func decodeHeader(b []byte) (header, error) {
	var h header
	if len(b) < headerBytes {
		return h, fmt.Errorf("segment header: %w", errTorn)
	}
	if !bytes.Equal(b[:8], []byte(magic)) {
		return h, fmt.Errorf("segment header: magic is %q", b[:8])
	}
	if crc32.Checksum(b[:36], castagnoli()) != binary.LittleEndian.Uint32(b[36:]) {
		return h, fmt.Errorf("segment header: %w", errDamaged)
	}
	copy(h.epoch[:], b[8:24])
	h.first = binary.LittleEndian.Uint64(b[24:])
	return h, nil
}

func (h header) epochHex() string { return hex.EncodeToString(h.epoch[:]) }

func encodeRecord(kind uint8, seq uint64, payload []byte) []byte {
	b := make([]byte, recordBytes+len(payload))
	binary.LittleEndian.PutUint32(b, uint32(len(payload)))
	b[8] = kind
	binary.LittleEndian.PutUint64(b[9:], seq)
	copy(b[recordBytes:], payload)
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli()))
	return b
}

// record is one decoded record; payload aliases the input.
type record struct {
	kind    uint8
	seq     uint64
	payload []byte
	size    int
}

func decodeRecord(b []byte) (record, error) {
	if len(b) < recordBytes {
		return record{}, errTorn
	}
	n := binary.LittleEndian.Uint32(b)
	if n > maxPayload {
		return record{}, errDamaged
	}
	size := recordBytes + int(n)
	if len(b) < size {
		return record{}, errTorn
	}
	if crc32.Checksum(b[8:size], castagnoli()) != binary.LittleEndian.Uint32(b[4:]) {
		return record{}, errDamaged
	}
	return record{kind: b[8], seq: binary.LittleEndian.Uint64(b[9:]), payload: b[recordBytes:size], size: size}, nil
}

// position is where one whole record lies in a segment.
type position struct {
	seq    uint64
	offset int64
	size   int
}

// parsed is what a segment's bytes hold.
type parsed struct {
	header  header
	records []position
	good    int64 // length of the undamaged prefix
	damaged bool  // there is something unreadable that is no torn tail
}

// parseSegment lists the whole records of a segment. Behind damage it looks for
// the next record byte by byte: a CRC-32C and a growing sequence number agree.
func parseSegment(b []byte) (parsed, error) {
	h, err := decodeHeader(b)
	if err != nil {
		return parsed{}, err
	}
	p := parsed{header: h, good: headerBytes}
	last, off, lost := h.first-1, headerBytes, false
	for off < len(b) {
		var r record
		err := errDamaged
		if !lost || plausible(b[off:], last) {
			r, err = decodeRecord(b[off:])
		}
		if err != nil || r.seq <= last || r.seq-last > uint64(len(b)) {
			lost = true
			off++
			continue
		}
		if lost || r.seq != last+1 {
			p.damaged = true
		}
		p.records = append(p.records, position{seq: r.seq, offset: int64(off), size: r.size})
		last = r.seq
		off += r.size
		if !p.damaged {
			p.good = int64(off)
		}
	}
	return p, nil
}

// plausible is the cheap look before the checksum, so that the search behind
// damage stays linear.
func plausible(b []byte, last uint64) bool {
	if len(b) < recordBytes || b[8] != typeHit {
		return false
	}
	seq := binary.LittleEndian.Uint64(b[9:])
	return seq > last && seq-last < 1<<20
}
