package snapshot

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/bits"

	"github.com/zeebo/blake3"
)

// A delta makes one blob out of another, without knowing what is in them:
//
//	magic   8 bytes  "WWDELTA" and the version, 1
//	base    32 bytes BLAKE3 of the blob that it builds on, then its size, u64 little endian
//	result  32 bytes BLAKE3 of what it makes, then its size, u64 little endian
//	steps   to the end; each appends to the result n bytes of the base, then m bytes of its own:
//	        varint  where the n bytes lie, from the end of those of the step before (zigzag)
//	        uvarint n, uvarint m
//	        m bytes
//
// Registries are built anew for every epoch, but what an artifact adds lies behind the
// others or, in the tables, sorted among them: thousands of short insertions.
const deltaMagic = "WWDELTA\x01"

const deltaHeader = len(deltaMagic) + 2*(32+8)

// Ends says between which blobs a delta leads.
type Ends struct {
	Base, Result           string // BLAKE3, hex
	BaseBytes, ResultBytes int64
}

func (e Ends) encode() ([]byte, error) {
	out := []byte(deltaMagic)
	for _, x := range []struct {
		digest string
		size   int64
	}{{e.Base, e.BaseBytes}, {e.Result, e.ResultBytes}} {
		sum, err := hex.DecodeString(x.digest)
		if err != nil || len(sum) != 32 || x.size < 0 {
			return nil, fmt.Errorf("%w: blob %.80q of %d bytes", ErrMalformed, x.digest, x.size)
		}
		out = append(out, sum...)
		out = binary.LittleEndian.AppendUint64(out, uint64(x.size))
	}
	return out, nil
}

// ApplyDelta writes what a delta makes of a base. It takes no delta that does not lead
// between the ends exactly, writes no more than these say, and fails at the end when the
// digest of what it wrote is another: the caller throws that away. The base is not
// checked, a wrong one makes a wrong result.
func ApplyDelta(w io.Writer, delta io.Reader, base io.ReaderAt, ends Ends) error {
	want, err := ends.encode()
	if err != nil {
		return err
	}
	in := bufio.NewReaderSize(delta, 1<<16)
	head := make([]byte, deltaHeader)
	if _, err := io.ReadFull(in, head); err != nil {
		return fmt.Errorf("%w: delta: %v", ErrMalformed, err)
	}
	if !bytes.Equal(head, want) {
		return fmt.Errorf("%w: the delta is of another version or leads between other blobs", ErrMalformed)
	}
	h := blake3.New()
	p := &patcher{in: in, out: io.MultiWriter(w, h), base: base, ends: ends, buf: make([]byte, 1<<16)}
	for p.done < ends.ResultBytes {
		if err := p.step(); err != nil {
			return err
		}
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: the delta goes on after its result", ErrMalformed)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != ends.Result {
		return fmt.Errorf("%w: the delta makes BLAKE3 %s, want %s", ErrMalformed, sum, ends.Result)
	}
	return nil
}

type patcher struct {
	in   *bufio.Reader
	out  io.Writer
	base io.ReaderAt
	ends Ends
	at   int64 // in the base: where the last step's bytes ended
	done int64 // of the result
	buf  []byte
}

func (p *patcher) step() error {
	move, err := binary.ReadVarint(p.in)
	if err != nil {
		return fmt.Errorf("%w: delta: %v", ErrMalformed, err)
	}
	var n [2]uint64
	for i := range n {
		if n[i], err = binary.ReadUvarint(p.in); err != nil {
			return fmt.Errorf("%w: delta: %v", ErrMalformed, err)
		}
	}
	left := uint64(p.ends.ResultBytes - p.done)
	if n[0] > left || n[1] > left-n[0] || n[0]+n[1] == 0 {
		return fmt.Errorf("%w: a step of %d and %d bytes where %d are left", ErrMalformed, n[0], n[1], left)
	}
	if move < -p.at || move > p.ends.BaseBytes-p.at || int64(n[0]) > p.ends.BaseBytes-p.at-move {
		return fmt.Errorf("%w: a step of %d bytes goes beyond the base", ErrMalformed, n[0])
	}
	p.at += move
	if err := p.copy(io.NewSectionReader(p.base, p.at, int64(n[0])), int64(n[0])); err != nil {
		return err
	}
	p.at += int64(n[0])
	p.done += int64(n[0] + n[1])
	return p.copy(p.in, int64(n[1]))
}

func (p *patcher) copy(r io.Reader, n int64) error {
	for n > 0 {
		part := p.buf[:min(n, int64(len(p.buf)))]
		if _, err := io.ReadFull(r, part); err != nil {
			return fmt.Errorf("%w: delta: %v", ErrMalformed, err)
		}
		if _, err := p.out.Write(part); err != nil {
			return err
		}
		n -= int64(len(part))
	}
	return nil
}

// MakeDelta returns a delta that makes next of base, or nil when it would be longer than
// most bytes. Time follows the size of both; memory is that of the delta, and 64 MiB at most
// for large blobs, which may be mapped from files.
func MakeDelta(base, next []byte, most int) []byte {
	bsum, nsum := blake3.Sum256(base), blake3.Sum256(next)
	head, err := Ends{hex.EncodeToString(bsum[:]), hex.EncodeToString(nsum[:]), int64(len(base)), int64(len(next))}.encode()
	if err != nil || len(base)/deltaBlock >= 1<<32-1 {
		return nil
	}
	d := &differ{base: base, next: next, out: head}
	for d.pos < len(next) {
		i, j := d.match()
		n := common(base[j:], next[i:])
		d.emit(next[d.pos:i]) // belongs to the step before
		if i == len(next) {
			break
		}
		d.begin(j, n)
		d.pos, d.at = i+n, j+n
		if len(d.out) > most {
			return nil
		}
	}
	d.flush()
	if len(d.out) > most {
		return nil
	}
	return d.out
}

const (
	deltaBlock = 32 // bytes that must agree where base and next are put side by side anew
	deltaNear  = 16 // the same where they go on close by
	deltaReach = 64 // how far close by is

	// mostBlocks of a base are known, evenly spaced: between them a match is found when the next block comes,
	// and goes back from there as far as it holds.
	mostBlocks = 8 << 20
)

type differ struct {
	base, next []byte
	blocks     []uint32 // hash of a block of the base -> its number, from 1; nil until it is needed
	stride     int      // from one of them to the next, in bytes
	shift      uint
	pos, at    int // everything before is done: in next, and where the base would go on
	out        []byte

	open    bool // a step is begun and its own bytes are not written yet
	move, n int
	own     []byte
	lastEnd int
}

func (d *differ) index() {
	n := len(d.base) / deltaBlock
	d.stride = deltaBlock * max(1, (n+mostBlocks-1)/mostBlocks)
	n = len(d.base) / d.stride
	size := uint(bits.Len(uint(n + n/2 + 1)))
	d.blocks, d.shift = make([]uint32, 1<<size), 64-size
	for i := range n {
		if slot := d.slot(d.base[i*d.stride:]); d.blocks[slot] == 0 { // of equal blocks the first
			d.blocks[slot] = uint32(i + 1)
		}
	}
}

func (d *differ) slot(b []byte) uint64 {
	h := binary.LittleEndian.Uint64(b)*0x9e3779b97f4a7c15 ^ binary.LittleEndian.Uint64(b[8:])
	h = h*0xbf58476d1ce4e5b9 ^ binary.LittleEndian.Uint64(b[16:])
	h = h*0x94d049bb133111eb ^ binary.LittleEndian.Uint64(b[24:])
	return h * 0x9e3779b97f4a7c15 >> d.shift
}

// match returns where next and base agree again, at or after the position; i is the end
// of next when they never do.
func (d *differ) match() (i, j int) {
	for s := 0; s <= deltaReach; s += 4 {
		switch {
		case d.agree(d.pos+s, d.at): // put in
			return d.pos + s, d.at
		case d.agree(d.pos, d.at+s): // taken out
			return d.pos, d.at + s
		case d.agree(d.pos+s, d.at+s): // changed
			return d.pos + s, d.at + s
		}
	}
	if d.blocks == nil {
		d.index()
	}
	for i := d.pos; i+deltaBlock <= len(d.next); i++ {
		b := d.blocks[d.slot(d.next[i:])]
		if b == 0 {
			continue
		}
		j := int(b-1) * d.stride
		if !bytes.Equal(d.base[j:j+deltaBlock], d.next[i:i+deltaBlock]) {
			continue
		}
		for i > d.pos && j > 0 && d.next[i-1] == d.base[j-1] {
			i, j = i-1, j-1
		}
		return i, j
	}
	return len(d.next), 0
}

func (d *differ) agree(i, j int) bool {
	return i+deltaNear <= len(d.next) && j+deltaNear <= len(d.base) && bytes.Equal(d.next[i:i+deltaNear], d.base[j:j+deltaNear])
}

func common(a, b []byte) int {
	n, most := 0, min(len(a), len(b))
	for n+4096 <= most && bytes.Equal(a[n:n+4096], b[n:n+4096]) {
		n += 4096
	}
	for n+8 <= most {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
		n += 8
	}
	for n < most && a[n] == b[n] {
		n++
	}
	return n
}

// emit gives the step under way bytes of its own; without one, it is a step of these alone.
func (d *differ) emit(own []byte) {
	if len(own) > 0 && !d.open {
		d.begin(d.lastEnd, 0)
	}
	d.own = own
	d.flush()
}

func (d *differ) begin(at, n int) {
	d.open, d.move, d.n, d.own = true, at-d.lastEnd, n, nil
	d.lastEnd = at + n
}

func (d *differ) flush() {
	if !d.open {
		return
	}
	d.out = binary.AppendVarint(d.out, int64(d.move))
	d.out = binary.AppendUvarint(d.out, uint64(d.n))
	d.out = binary.AppendUvarint(d.out, uint64(len(d.own)))
	d.out = append(d.out, d.own...)
	d.open, d.own = false, nil
}
