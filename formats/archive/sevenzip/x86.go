package sevenzip

import (
	"encoding/binary"
	"io"
)

// x86Reader undoes the filter for x86 programs (BCJ): the targets of calls and jumps
// (E8, E9) were made absolute. Archives by py7zr have it whatever is in them.
// Source: x86.c of XZ Utils.
type x86Reader struct {
	r    io.Reader
	buf  []byte // not given out yet: done bytes are filtered
	done int
	pos  uint32 // of buf[0] in the stream
	last uint32 // place of the last E8 or E9
	mask uint32 // what was seen in the bytes behind it
	err  error
}

const x86Buffer = 32 << 10

func newX86Reader(r io.Reader) *x86Reader {
	return &x86Reader{r: r, buf: make([]byte, 0, x86Buffer), last: ^uint32(4)}
}

// Read implements io.Reader.
func (x *x86Reader) Read(p []byte) (int, error) {
	for x.done == 0 && x.err == nil {
		var n int
		n, x.err = x.r.Read(x.buf[len(x.buf):cap(x.buf)])
		x.buf = x.buf[:len(x.buf)+n]
		x.filter()
		if x.err != nil {
			x.done = len(x.buf) // the last four bytes hold no whole target
		}
	}
	n := copy(p, x.buf[:x.done])
	x.buf = append(x.buf[:0], x.buf[n:]...)
	x.done -= n
	x.pos += uint32(n)
	if n == 0 && len(p) > 0 {
		return 0, x.err
	}
	return n, nil
}

// filter turns the bytes from done on back, but for the last four.
func (x *x86Reader) filter() {
	i := x.done
	if at := x.pos + uint32(i); at-x.last > 5 {
		x.last = at - 5
	}
	for i+5 <= len(x.buf) {
		if x.buf[i]&0xfe != 0xe8 {
			i++
			continue
		}
		at := x.pos + uint32(i)
		distance := at - x.last
		x.last = at
		if distance > 5 {
			x.mask = 0
		} else {
			for range distance {
				x.mask = x.mask & 0x77 << 1
			}
		}
		top := x.buf[i+4]
		if (top == 0 || top == 0xff) && x.mask>>1 < 0x10 && x86Allowed(x.mask>>1&7) {
			binary.LittleEndian.PutUint32(x.buf[i+1:], x.target(binary.LittleEndian.Uint32(x.buf[i+1:]), at+5))
			i += 5
			x.mask = 0
			continue
		}
		i++
		if x.mask |= 1; top == 0 || top == 0xff {
			x.mask |= 0x10
		}
	}
	x.done = i
}

func x86Allowed(seen uint32) bool { return seen < 3 || seen == 4 }

// target is the relative target of an absolute one.
func (x *x86Reader) target(from, next uint32) uint32 {
	for {
		to := from - next
		if x.mask == 0 {
			return to&0x1ffffff | -(to>>24&1)<<24
		}
		shift := [8]uint32{0, 1, 2, 2, 3, 3, 3, 3}[x.mask>>1&7] * 8
		if b := byte(to >> (24 - shift)); b != 0 && b != 0xff {
			return to&0x1ffffff | -(to>>24&1)<<24
		}
		from = to ^ (1<<(32-shift) - 1)
	}
}
