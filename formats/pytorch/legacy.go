package pytorch

import (
	"context"
	"encoding/binary"
	"slices"

	"weightwarden/formats"
	"weightwarden/formats/pytorch/pickle"
)

// legacyMagic is 0x1950a86a20f9469cfc6c, the first pickle of a file before 1.6.
var legacyMagic = []byte{0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19}

// maxStream is how many pickles one after the other are read.
const maxStream = 64

// decodePickles reads a file that starts with a pickle: the five of the legacy
// format with storages behind, or any others, each walked for what it holds.
func decodePickles(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	first, err := pickle.Run(ctx, src, 0, limits)
	if err != nil {
		return nil, err
	}
	if first.Broken != nil && first.Opcodes < 4 && len(first.Globals) == 0 {
		return nil, first.Broken // nothing that only a pickle has
	}
	m := &formats.Model{Format: id, Variant: variantPickle}
	w := newWalker(ctx, m, limits)
	w.src = src
	if magic, ok := first.Value.(*pickle.Long); ok && slices.Equal(magic.LittleEndian, legacyMagic) {
		m.Variant = variantLegacy
		w.report(first)
		err = w.legacy(src, first.End)
	} else {
		err = w.stream(src, first)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// stream walks pickles that follow each other; loaders of several objects read
// them so, and code hides behind the first.
func (w *walker) stream(src formats.Source, res *pickle.Result) error {
	for n := 0; ; n++ {
		var root *trail
		if n > 0 {
			root = root.child("pickle" + string(rune('0'+n%10)))
		}
		if err := w.pickle(res, root); err != nil {
			return err
		}
		if res.Broken != nil || res.End >= src.Size() || n >= maxStream {
			break
		}
		next, err := pickle.Run(w.ctx, src, res.End, w.limits)
		if w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		if err != nil || next.Broken != nil && len(next.Calls) == 0 && len(next.Globals) == 0 {
			w.note("pickle.trailing", formats.Warning, res.End, "%d bytes follow the end of the pickle", src.Size()-res.End)
			break
		}
		res = next
	}
	if w.unbacked > 0 && w.resolve == nil {
		w.dropUnbacked()
	}
	return nil
}

// dropUnbacked takes tensors away whose storages are in another file: a pickle
// out of a zip, looked at alone.
func (w *walker) dropUnbacked() {
	w.model.Tensors = slices.DeleteFunc(w.model.Tensors, func(t formats.Tensor) bool { return t.Data.Source == nil && t.Elements() > 0 })
	w.note("pytorch.storages", formats.Info, -1, "the pickle names %d tensors whose storages are not in it", w.unbacked)
}

// legacy reads the pickles behind the magic number: protocol version, system
// information, object, storage keys; then the storages.
func (w *walker) legacy(src formats.Source, pos int64) error {
	var parts [4]*pickle.Result
	for i := range parts {
		res, err := pickle.Run(w.ctx, src, pos, w.limits)
		if w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		if err != nil || res.Broken != nil && i != 2 {
			w.note("pytorch.legacy", formats.Unread, pos, "the file ends within its headers")
			break
		}
		parts[i], pos = res, res.End
		if i != 2 { // the object is reported when it is walked
			w.report(res)
		}
		if res.Broken != nil {
			break
		}
	}
	if parts[2] == nil {
		return nil
	}
	stores := map[string]*storage{}
	if parts[3] != nil {
		w.legacyStorages(src, pos, parts[2], parts[3], bigEndianSystem(parts[1]), stores)
	}
	w.resolve = func(p *pickle.Persistent) (*storage, error) {
		s, ok := parseStorageID(p)
		if !ok {
			return nil, formats.Errorf(id, "persistent id", p.Offset, formats.ErrUnsupported, "no storage")
		}
		st, ok := stores[s.key]
		if !ok {
			return nil, formats.Errorf(id, "storage", p.Offset, formats.ErrTruncated, "storage %.200q is not in the file", s.key)
		}
		return view(st, s)
	}
	return w.pickle(parts[2], nil)
}

// bigEndianSystem reads little_endian out of the system information.
func bigEndianSystem(info *pickle.Result) bool {
	d, ok := info.Value.(*pickle.Dict)
	if !ok {
		return false
	}
	for _, p := range d.Pairs {
		if k, _ := p.Key.(string); k == "little_endian" {
			little, isBool := p.Value.(bool)
			return isBool && !little
		}
	}
	return false
}

// legacyStorages finds the storages: for each key the number of elements, then
// the bytes. Only the persistent ids tell the width of an element.
func (w *walker) legacyStorages(src formats.Source, pos int64, object, keys *pickle.Result, big bool, out map[string]*storage) {
	ids := map[string]storageID{}
	for _, p := range object.Persistents {
		if s, ok := parseStorageID(p); ok {
			if _, have := ids[s.key]; !have {
				ids[s.key] = s
			}
		}
	}
	list, ok := keys.Value.(*pickle.Seq)
	if !ok {
		w.note("pytorch.legacy", formats.Unread, keys.End, "no list of storages")
		return
	}
	for _, v := range list.Items {
		key, _ := keyText(v)
		s, ok := ids[key]
		if !ok {
			w.note("pytorch.legacy", formats.Unread, pos, "storage %.200q is of no tensor, so its width is unknown; what follows was not read", key)
			return
		}
		st, err := countedStorage(src, pos, s.dtype, big)
		if err != nil {
			w.note("pytorch.legacy", formats.Unread, pos, "storage %.200q: %v", key, err)
			return
		}
		st.key = key
		out[key] = st
		pos = st.offset + st.length
	}
	if pos < src.Size() {
		w.note("pytorch.trailing", formats.Info, pos, "%d bytes follow the last storage", src.Size()-pos)
	}
}

// countedStorage reads an element count at pos and takes the bytes behind it.
func countedStorage(src formats.Source, pos int64, d formats.DType, big bool) (*storage, error) {
	var b [8]byte
	if err := formats.ReadFull(src, b[:], pos); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint64(b[:]))
	if d == formats.Unknown {
		d = formats.U8
	}
	bytes, ok := d.Bytes(n)
	if !ok {
		return nil, formats.Errorf(id, "storage size", pos, formats.ErrMalformed, "%d elements of %v", n, d)
	}
	if left := src.Size() - pos - 8; bytes > left {
		return nil, formats.Errorf(id, "storage", pos, formats.ErrTruncated, "%d bytes wanted, %d left", bytes, left)
	}
	return &storage{src: src, offset: pos + 8, length: bytes, dtype: d, numel: n, bigEndian: big}, nil
}

// view is the part of a storage that a legacy persistent id asks for.
func view(st *storage, s storageID) (*storage, error) {
	out := *st
	out.dtype, out.numel = s.dtype, s.numel
	if !s.view {
		return &out, nil
	}
	from, ok := s.dtype.Bytes(s.viewOffset)
	n, okN := s.dtype.Bytes(s.viewNumel)
	if !ok || !okN || from > st.length || n > st.length-from {
		return nil, formats.Errorf(id, "storage view", -1, formats.ErrMalformed, "%d elements at %d of a storage of %d bytes", s.viewNumel, s.viewOffset, st.length)
	}
	out.offset, out.length, out.numel = st.offset+from, n, s.viewNumel
	return &out, nil
}
