package formats

import (
	"reflect"
	"slices"
)

// twice finds the tensors of a container that two members tell: a shard and the
// index that names it, a file of weights and the model that says what is in it.
// The latter knows more: what a file tells of its own bytes goes where another
// member told of the same ones.
type twice struct {
	own    []bool // by tensor of the container's Model
	others map[bytesOf]kind
}

// bytesOf is some bytes of a Source that is no part of another one.
type bytesOf struct {
	source         any
	offset, length int64
}

// kind is what another member says that bytes are. Only what a file says in the same
// way is dropped: a file that says something else of them cannot hide it.
type kind struct {
	dtype DType
	shape []int64
}

// note takes the tensors of a member, before the container's Model does.
func (w *twice) note(m *Model) {
	for i := range m.Tensors {
		t := &m.Tensors[i]
		w.own = append(w.own, t.Member == "")
		if b, ok := bytesAt(t); ok && t.Member != "" {
			if w.others == nil {
				w.others = map[bytesOf]kind{}
			}
			w.others[b] = kind{t.DType, t.Shape}
		}
	}
}

// drop removes the tensors that another member told too.
func (w *twice) drop(m *Model) {
	if len(w.others) == 0 {
		return
	}
	i := -1
	m.Tensors = slices.DeleteFunc(m.Tensors, func(t Tensor) bool {
		i++
		b, ok := bytesAt(&t)
		other, told := w.others[b]
		if !ok || !told || !w.own[i] {
			return false
		}
		if len(t.Shape) == 1 { // bytes may be codes of fewer bits
			return other.dtype == t.DType || t.DType == U8 && isNarrow(other.dtype)
		}
		return other.dtype == t.DType && slices.Equal(other.shape, t.Shape)
	})
}

func isNarrow(d DType) bool {
	_, bits := d.Block()
	return bits > 0 && bits < 8
}

func bytesAt(t *Tensor) (b bytesOf, ok bool) {
	if t.Data.Source == nil || t.Data.Length == 0 {
		return b, false
	}
	src, start := root(t.Data.Source)
	b = bytesOf{source: src, offset: start + t.Data.Offset, length: t.Data.Length}
	if x, ok := src.(BytesSource); ok {
		b.source = &x[0]
	}
	return b, reflect.TypeOf(b.source).Comparable()
}
