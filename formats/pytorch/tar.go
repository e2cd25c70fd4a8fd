package pytorch

import (
	"context"
	"encoding/binary"

	"weightwarden/formats"
	"weightwarden/formats/archive/tar"
	"weightwarden/formats/pytorch/pickle"
)

const maxAxes = 64

// tarFile is a file of PyTorch 0.1 while it is read: the members storages and
// tensors are pickles with raw numbers in between.
type tarFile struct {
	ctx     context.Context
	limits  formats.Limits
	w       *walker
	stores  map[string]*storage
	tensors map[string]*formats.Tensor
	count   int
}

func decodeTar(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	members, err := tar.Container{}.Open(ctx, src, limits)
	if err != nil {
		return nil, err
	}
	parts := map[string]formats.Source{}
	for _, f := range members.Files {
		if _, have := parts[f.Name]; !have {
			parts[f.Name] = f.Source
		}
	}
	if parts["pickle"] == nil || parts["storages"] == nil || parts["tensors"] == nil {
		return nil, formats.Errorf(id, "tar", -1, formats.ErrNotRecognized, "no members pickle, storages and tensors")
	}
	m := &formats.Model{Format: id, Variant: variantTar}
	t := &tarFile{ctx: ctx, limits: limits, w: newWalker(ctx, m, limits), stores: map[string]*storage{}, tensors: map[string]*formats.Tensor{}}
	for _, f := range members.Findings {
		m.AddFinding(limits.Findings, f)
	}
	if err := t.readStorages(parts["storages"]); err != nil {
		return nil, err
	}
	if err := t.readTensors(parts["tensors"]); err != nil {
		return nil, err
	}
	res, err := pickle.Run(ctx, parts["pickle"], 0, limits)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		t.w.note("pytorch.pickle", formats.Unread, -1, "member \"pickle\": %v", err)
		return m, nil
	}
	t.w.src, t.w.tensorOf = parts["pickle"], t.tensor
	if err := t.w.pickle(res, nil); err != nil {
		return nil, err
	}
	return m, nil
}

// decodeBehindTar reads a zip that stands behind the members of a tar. Zips
// inside of members are left to the container.
func decodeBehindTar(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	members, err := tar.Container{}.Open(ctx, src, limits)
	if err != nil {
		return nil, err
	}
	end := int64(0)
	for _, f := range members.Files {
		if b, ok := f.Source.(formats.Based); ok {
			_, off := b.Base()
			end = max(end, off+f.Source.Size())
		}
	}
	_, start := base(src)
	behind, err := formats.Section(src, max(end-start, 0), src.Size()-max(end-start, 0))
	if err != nil {
		return nil, formats.Errorf(id, "tar", -1, formats.ErrNotRecognized, "nothing behind it")
	}
	return decodeZip(ctx, behind, limits)
}

// base is where src lies in the Source that its parts are said to lie in.
func base(src formats.Source) (formats.Source, int64) {
	if b, ok := src.(formats.Based); ok {
		return b.Base()
	}
	return src, 0
}

// reader reads pickles and raw numbers of one member by turns.
type reader struct {
	t   *tarFile
	src formats.Source
	pos int64
}

// next runs one pickle; ok is false where the member is broken, which is noted.
func (r *reader) next() (v pickle.Value, ok bool, err error) {
	res, err := pickle.Run(r.t.ctx, r.src, r.pos, r.t.limits)
	if r.t.ctx.Err() != nil {
		return nil, false, r.t.ctx.Err()
	}
	if err != nil || res.Broken != nil {
		r.t.w.note("pytorch.tar", formats.Unread, r.pos, "a list of storages or tensors breaks off")
		return nil, false, nil
	}
	r.t.w.report(res)
	r.pos = res.End
	return res.Value, true, nil
}

// items runs the pickle of a count and then calls each that often, until it
// says that the member is broken.
func (r *reader) items(each func(pickle.Value) error) error {
	v, ok, err := r.next()
	n, isInt := v.(int64)
	if err != nil || !ok || !isInt {
		return err
	}
	for ; n > 0; n-- {
		v, ok, err := r.next()
		if err != nil || !ok {
			return err
		}
		if r.t.count++; r.t.count > r.t.limits.Tensors {
			r.t.w.note("tensors.limit", formats.Unread, r.pos, "more storages and tensors than allowed")
			return nil
		}
		if err := each(v); err != nil {
			r.t.w.note("pytorch.tar", formats.Unread, r.pos, "%v", err)
			return nil
		}
	}
	return nil
}

// readStorages reads (key, location, class) and the elements of each storage,
// then views (key, root key, offset, elements).
func (t *tarFile) readStorages(src formats.Source) error {
	r := &reader{t: t, src: src}
	err := r.items(func(v pickle.Value) error {
		key, class, ok := keyAnd(v, 2)
		if !ok {
			return formats.Errorf(id, "storages", r.pos, formats.ErrMalformed, "no key and class")
		}
		d, _ := storageDType(class)
		st, err := countedStorage(src, r.pos, d, false)
		if err != nil {
			return err
		}
		st.key = key
		t.stores[key] = st
		r.pos = st.offset + st.length
		return nil
	})
	if err != nil || r.pos >= src.Size() {
		return err
	}
	v, ok, err := r.next()
	if err != nil || !ok {
		return err
	}
	t.views(v)
	return nil
}

func (t *tarFile) views(v pickle.Value) {
	list, ok := v.(*pickle.Seq)
	if !ok {
		return
	}
	for _, item := range list.Items {
		s, ok := item.(*pickle.Seq)
		if !ok || len(s.Items) != 4 {
			continue
		}
		key, _ := keyText(s.Items[0])
		root, _ := keyText(s.Items[1])
		off, okOff := s.Items[2].(int64)
		n, okN := s.Items[3].(int64)
		st := t.stores[root]
		if st == nil || !okOff || !okN {
			continue
		}
		part, err := view(st, storageID{dtype: st.dtype, numel: n, view: true, viewOffset: off, viewNumel: n})
		if err != nil {
			t.w.note("pytorch.tar", formats.Unread, -1, "view %.200q: %v", key, err)
			continue
		}
		t.stores[key] = part
	}
}

// readTensors reads (key, storage key, class), then the number of axes (four
// bytes and four of padding), sizes, strides and the offset of each tensor.
func (t *tarFile) readTensors(src formats.Source) error {
	r := &reader{t: t, src: src}
	return r.items(func(v pickle.Value) error {
		key, store, ok := keyAnd(v, 1)
		if !ok {
			return formats.Errorf(id, "tensors", r.pos, formats.ErrMalformed, "no key and storage")
		}
		storeKey, _ := keyText(store)
		var b [8]byte
		if err := formats.ReadFull(src, b[:], r.pos); err != nil {
			return err
		}
		axes := int64(int32(binary.LittleEndian.Uint32(b[:])))
		if axes < 0 || axes > maxAxes {
			return formats.Errorf(id, "tensors", r.pos, formats.ErrMalformed, "%d axes", axes)
		}
		raw := make([]byte, 16*axes+8)
		if err := formats.ReadFull(src, raw, r.pos+8); err != nil {
			return err
		}
		r.pos += 8 + int64(len(raw))
		t.addTensor(key, storeKey, int(axes), raw)
		return nil
	})
}

func (t *tarFile) addTensor(key, storeKey string, axes int, raw []byte) {
	nums := make([]int64, len(raw)/8)
	for i := range nums {
		nums[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
	}
	st := t.stores[storeKey]
	n, ok := formats.Elements(nums[:axes])
	if st == nil || !ok {
		t.w.note("pytorch.tar", formats.Unread, -1, "tensor %.200q has no storage or an impossible size", key)
		return
	}
	tensor := formats.Tensor{DType: st.dtype, Shape: nums[:axes:axes]}
	if err := place(&tensor, st, nums[2*axes], nums[axes:2*axes:2*axes], n); err != nil {
		t.w.note("pytorch.tar", formats.Unread, -1, "tensor %.200q: %v", key, err)
		return
	}
	t.tensors[key] = &tensor
}

// tensor returns the tensor or storage that a persistent id names.
func (t *tarFile) tensor(p *pickle.Persistent) (formats.Tensor, bool) {
	v := p.ID
	if s, ok := v.(*pickle.Seq); ok && len(s.Items) > 0 { // a module with its source text
		v = s.Items[0]
	}
	key, ok := keyText(v)
	if !ok {
		return formats.Tensor{}, false
	}
	if tensor, ok := t.tensors[key]; ok {
		return *tensor, true
	}
	if st, ok := t.stores[key]; ok {
		return wholeStorage(st), true
	}
	return formats.Tensor{}, false
}

// keyAnd reads the key and the i-th item of a tuple.
func keyAnd(v pickle.Value, i int) (string, pickle.Value, bool) {
	s, ok := v.(*pickle.Seq)
	if !ok || len(s.Items) <= i {
		return "", nil, false
	}
	key, ok := keyText(s.Items[0])
	return key, s.Items[i], ok
}
