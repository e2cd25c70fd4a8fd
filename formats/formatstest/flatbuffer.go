package formatstest

import (
	"encoding/binary"
	"fmt"
)

// Table is a FlatBuffers table to build: one value a field, nil for one that is
// not there: byte, uint32, uint64, string, []byte, []int32, Table or []Table.
type Table []any

// FlatBuffer writes root and everything below it, parents before children.
func FlatBuffer(identifier string, root Table) []byte {
	w := &flatWriter{buf: make([]byte, 4)}
	w.buf = append(w.buf, identifier...)
	w.patch(0, w.table(root))
	return w.buf
}

type flatWriter struct{ buf []byte }

func (w *flatWriter) align(n int) {
	for len(w.buf)%n != 0 {
		w.buf = append(w.buf, 0)
	}
}

func (w *flatWriter) u32(v int) { w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(v)) }

// patch makes the offset at at lead to to.
func (w *flatWriter) patch(at, to int) {
	binary.LittleEndian.PutUint32(w.buf[at:], uint32(to-at))
}

func (w *flatWriter) table(t Table) int {
	w.align(8)
	vtable := len(w.buf)
	w.buf = append(w.buf, make([]byte, 4+2*len(t))...)
	binary.LittleEndian.PutUint16(w.buf[vtable:], uint16(4+2*len(t)))
	w.align(8)
	at := len(w.buf)
	w.u32(at - vtable)
	refs := map[int]any{}
	for i, v := range t {
		if v == nil {
			continue
		}
		if _, ok := v.(uint64); ok {
			w.align(8)
		}
		place := len(w.buf)
		binary.LittleEndian.PutUint16(w.buf[vtable+4+2*i:], uint16(place-at))
		switch v := v.(type) {
		case byte:
			w.u32(int(v))
		case uint32:
			w.u32(int(v))
		case uint64:
			w.buf = binary.LittleEndian.AppendUint64(w.buf, v)
		default:
			w.u32(0)
			refs[place] = v
		}
	}
	binary.LittleEndian.PutUint16(w.buf[vtable+2:], uint16(len(w.buf)-at))
	for place := at; place < len(w.buf) && len(refs) > 0; place += 4 {
		if v, ok := refs[place]; ok {
			w.patch(place, w.object(v))
			delete(refs, place)
		}
	}
	return at
}

func (w *flatWriter) object(v any) int {
	if t, ok := v.(Table); ok {
		return w.table(t)
	}
	w.align(16)
	w.buf = append(w.buf, make([]byte, 12)...) // so that the elements are aligned to 16
	at := len(w.buf)
	switch v := v.(type) {
	case string:
		w.u32(len(v))
		w.buf = append(append(w.buf, v...), 0)
	case []byte:
		w.u32(len(v))
		w.buf = append(w.buf, v...)
	case []int32:
		w.u32(len(v))
		for _, x := range v {
			w.u32(int(x))
		}
	case []Table:
		w.u32(len(v))
		first := len(w.buf)
		w.buf = append(w.buf, make([]byte, 4*len(v))...)
		last := 0
		for i, t := range v {
			if i == 0 || len(t) == 0 || len(v[i-1]) == 0 || &t[0] != &v[i-1][0] {
				last = w.table(t)
			}
			w.patch(first+4*i, last)
		}
	default:
		panic(fmt.Sprintf("no FlatBuffers value of type %T", v))
	}
	return at
}
