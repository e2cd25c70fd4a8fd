package pytorch

import (
	"strconv"

	"weightwarden/formats"
	"weightwarden/formats/pytorch/pickle"
)

// makesTensor reports whether a call, if made, would give a tensor or an array.
func makesTensor(c *pickle.Call) bool {
	g, ok := c.Name()
	if !ok {
		return false
	}
	switch g.Name {
	case "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_qtensor":
		return true
	}
	return false
}

// call lists the tensor of a call, or what its arguments and state hold. Classes
// and modules are not held against anything: a renamed module hides nothing.
func (w *walker) call(c *pickle.Call, at *trail) {
	g, named := c.Name()
	if makesTensor(c) { // every name that a tensor goes by is listed
		if w.first(c) {
			w.push(stateTasks(c, at))
		}
		w.strided(c, g.Name, at)
		return
	}
	if makesArray(c) {
		w.first(c)
		w.array(c, at)
		return
	}
	if !w.first(c) {
		if t, ok := unwrap(c); ok { // a tied parameter
			w.call(t, at)
		}
		return
	}
	if named {
		switch g.Name {
		case "_rebuild_sparse_tensor", "_rebuild_sparse_csr_tensor":
			w.sparse(c, at)
			return
		case "_rebuild_meta_tensor_no_storage":
			w.meta(c, at)
			return
		case "_rebuild_from_type", "_rebuild_from_type_v2":
			w.push([]task{{&pickle.Call{Func: c.Arg(0), Args: c.Arg(2), Offset: c.Offset}, at}, {c.Arg(3), at}})
			return
		case "_reconstruct_array": // jax: the call that makes the array, and its state
			w.push([]task{{&pickle.Call{Func: c.Arg(0), Args: c.Arg(1), State: c.Arg(2), Offset: c.Offset}, at}})
			return
		}
	}
	w.push(append(argTasks(c, at), stateTasks(c, at)...))
}

// unwrap returns the tensor inside of a parameter. Wrappers around wrappers are
// followed a few times only: a long chain under many names would take for ever.
func unwrap(c *pickle.Call) (*pickle.Call, bool) {
	for range 4 {
		inner, ok := c.Arg(0).(*pickle.Call)
		if !ok {
			return nil, false
		}
		if makesTensor(inner) {
			return inner, true
		}
		c = inner
	}
	return nil, false
}

// argTasks walks arguments: the first that may hold a tensor goes by the name of
// the object itself.
func argTasks(c *pickle.Call, at *trail) []task {
	args, ok := c.Args.(*pickle.Seq)
	if !ok {
		return []task{{c.Args, at}}
	}
	var tasks []task
	for i, v := range args.Items {
		switch {
		case !holds(v):
		case len(tasks) == 0:
			tasks = append(tasks, task{v, at})
		default:
			tasks = append(tasks, task{v, at.child("arg" + strconv.Itoa(i))})
		}
	}
	return tasks
}

// stateTasks walks what an object holds. The dicts of torch.nn.Module that only
// sort its parts are left out of names, so that a pickled module and its state
// dict name tensors alike.
func stateTasks(c *pickle.Call, at *trail) []task {
	var tasks []task
	if d, ok := c.State.(*pickle.Dict); ok {
		for _, p := range d.Pairs {
			key, _ := keyText(p.Key)
			if key == "_parameters" || key == "_buffers" || key == "_modules" {
				key = ""
			}
			if key == "" || holds(p.Value) {
				tasks = append(tasks, task{p.Value, at.child(key)})
			}
		}
	} else if holds(c.State) {
		tasks = append(tasks, task{c.State, at})
	}
	for i, v := range c.Items {
		if holds(v) {
			tasks = append(tasks, task{v, at.child(strconv.Itoa(i))})
		}
	}
	return append(tasks, pairTasks(c.Pairs, at)...)
}

// strided lists the tensor of (storage, offset, size, stride, ...).
func (w *walker) strided(c *pickle.Call, kind string, at *trail) {
	st, why := w.storageOf(c.Arg(0))
	t := formats.Tensor{DType: st.dtype}
	if kind == "_rebuild_tensor_v3" {
		if d, ok := torchDType(c.Arg(6)); ok {
			t.DType = d
		}
	}
	shape, okShape := ints(c.Arg(2))
	strides, okStrides := ints(c.Arg(3))
	offset, okOffset := c.Arg(1).(int64)
	n, okSize := formats.Elements(shape)
	if !okShape || !okStrides || !okOffset || !okSize || len(shape) != len(strides) {
		w.note("pytorch.tensor", formats.Unread, c.Offset, "tensor %.200q has an impossible size, stride or offset", at.name(w.limits.NameBytes))
		return
	}
	t.Shape = shape
	if why == nil {
		why = place(&t, st, offset, strides, n)
	}
	if why != nil {
		w.unbacked++
		if w.resolve != nil {
			w.note("pytorch.storage", formats.Unread, c.Offset, "tensor %.200q: %v", at.name(w.limits.NameBytes), why)
		}
		t.Data = formats.Extent{}
	}
	w.add(t, at)
	if kind == "_rebuild_qtensor" {
		w.quantizer(c, at)
	} else if d, ok := c.Arg(metadataArg(kind)).(*pickle.Dict); ok && len(d.Pairs) > 0 {
		w.note("pytorch.lazy", formats.Info, c.Offset, "tensor %.200q is a lazy conjugate, negation or view of what is stored", at.name(w.limits.NameBytes))
	}
}

func metadataArg(kind string) int {
	if kind == "_rebuild_tensor_v3" {
		return 7
	}
	return 6
}

// ints reads a tuple or torch.Size of integers.
func ints(v pickle.Value) ([]int64, bool) {
	if c, ok := v.(*pickle.Call); ok { // torch.Size((2, 3))
		v = c.Arg(0)
	}
	s, ok := v.(*pickle.Seq)
	if !ok {
		return nil, false
	}
	out := make([]int64, len(s.Items))
	for i, item := range s.Items {
		if out[i], ok = item.(int64); !ok {
			return nil, false
		}
	}
	return out, true
}

// storageOf returns the storage behind a value. It is never nil, so that a
// tensor without bytes still has its type.
func (w *walker) storageOf(v pickle.Value) (*storage, error) {
	if c, ok := v.(*pickle.Call); ok {
		if g, named := c.Name(); named && g.Name == "_load_from_bytes" {
			w.first(c)
			if st, err := w.nested(c); err != nil {
				return &storage{}, err
			} else {
				return st, nil
			}
		}
		v = c.Arg(0) // TypedStorage(wrap_storage, dtype)
	}
	p, ok := v.(*pickle.Persistent)
	if !ok {
		return &storage{}, formats.Errorf(id, "storage", -1, formats.ErrUnsupported, "no storage but a %T", v)
	}
	if st, ok := w.stores[p]; ok && st.src != nil {
		return st, nil
	}
	st := &storage{}
	if s, ok := parseStorageID(p); ok {
		st.dtype, st.key, st.numel = s.dtype, s.key, s.numel
	}
	if w.resolve == nil {
		return st, formats.ErrNoSiblings
	}
	found, err := w.resolve(p)
	if err != nil {
		return st, err
	}
	w.stores[p] = found
	return found, nil
}

// bareStorage lists a storage that is no tensor's.
func (w *walker) bareStorage(p *pickle.Persistent, at *trail) {
	if !w.first(p) || w.resolve == nil {
		return
	}
	if _, ok := parseStorageID(p); !ok {
		return
	}
	st, err := w.storageOf(p)
	if err != nil {
		w.note("pytorch.storage", formats.Unread, p.Offset, "storage %.200q: %v", at.name(w.limits.NameBytes), err)
		return
	}
	w.add(wholeStorage(st), at)
}

// wholeStorage is a storage as a flat tensor.
func wholeStorage(st *storage) formats.Tensor {
	t := formats.Tensor{DType: st.dtype, Shape: []int64{st.numel},
		Data: formats.Extent{Source: st.src, Offset: st.offset, Length: st.length, BigEndian: st.bigEndian}}
	if n, ok := st.dtype.Bytes(st.numel); !ok || n != st.length {
		t.DType, t.Shape = formats.Unknown, []int64{st.length}
	}
	return t
}

func (w *walker) sparse(c *pickle.Call, at *trail) {
	data, ok := c.Arg(1).(*pickle.Seq)
	if !ok {
		w.push(argTasks(c, at))
		return
	}
	names := []string{"indices", "values"}
	// Compressed layouts have three tensors and a shape; coordinates two, a shape,
	// and since PyTorch 2.1 whether they are coalesced.
	if len(data.Items) > 3 && isShape(data.Items[3]) {
		names = []string{"crow_indices", "col_indices", "values"}
	}
	tasks := make([]task, 0, len(names))
	for i, v := range data.Items {
		if i < len(names) {
			tasks = append(tasks, task{v, at.child(names[i])})
		} else if shape, ok := ints(v); ok {
			w.sparseShape(shape, at)
		}
	}
	w.push(tasks)
}

func isShape(v pickle.Value) bool {
	_, ok := ints(v)
	return ok
}

func (w *walker) sparseShape(shape []int64, at *trail) {
	text := ""
	for i, d := range shape[:min(len(shape), 16)] {
		if i > 0 {
			text += ","
		}
		text += strconv.FormatInt(d, 10)
	}
	w.scalar(text, at.child("sparse_shape"))
}

// meta lists a tensor that has a shape and no data.
func (w *walker) meta(c *pickle.Call, at *trail) {
	dtype, _ := torchDType(c.Arg(0))
	shape, ok := ints(c.Arg(1))
	if _, fits := formats.Elements(shape); !ok || !fits {
		return
	}
	w.note("pytorch.meta", formats.Info, c.Offset, "tensor %.200q has no data in this file", at.name(w.limits.NameBytes))
	w.add(formats.Tensor{DType: dtype, Shape: shape}, at)
}

// quantizer lists scales and zero points of a quantised tensor: tensors for one
// per channel, metadata for one per tensor.
func (w *walker) quantizer(c *pickle.Call, at *trail) {
	q, ok := c.Arg(4).(*pickle.Seq)
	if !ok {
		return
	}
	names := []string{"qscheme", "q_scale", "q_zero_point", "q_axis"}
	var tasks []task
	for i, v := range q.Items[:min(len(q.Items), len(names))] {
		if g, ok := v.(*pickle.Global); ok {
			v = g.Name
		}
		tasks = append(tasks, task{v, at.child(names[i])})
	}
	w.push(tasks)
}
