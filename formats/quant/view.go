package quant

import (
	"slices"

	"weightwarden/formats"
)

// The schemes of views: how the numbers of a matrix are stored.
const (
	Plain = "plain" // one number after the other, any plain dtype
	Block = "ggml"  // blocks with scales inside, any ggml type

	GPTQ       = "gptq"               // codes down the input axis, optional act-order
	AWQ        = "awq"                // AutoAWQ: gemm, gemv and gemv_fast layouts
	Compressed = "compressed-tensors" // pack-quantized words with scales a row or group
	MLX        = "mlx"                // words with scales and biases a group; MX modes
	BnB4       = "bitsandbytes-4bit"  // NF4 and FP4 with block maxima, nested or not
	MXPair     = "mxfp4"              // FP4 with power-of-two scales per 32 beside it
	NVPair     = "nvfp4"              // FP4 with E4M3 scales per 16 and one for all
	NBits      = "matmul-nbits"       // ONNX Runtime's blocks of 4 or 8 bits
	Scaled     = "scaled"             // int8, int4 or FP8 with scales for all, rows, columns or blocks
	Table      = "table"              // Core ML's codes that choose from tables
	Steps      = "steps"              // Core ML's codes with steps and zero points a block
	Sparse     = "sparse"             // Core ML's mask and the numbers where it is set
)

// View is a logical matrix of numbers made of one tensor or of several that
// belong together. A View is immutable; readers of it may run side by side.
type View struct {
	// Name is the main tensor's name; where the parts of a family carry suffixes
	// (".qweight"), it is the name that the unpacked weight would have.
	Name   string
	Scheme string
	// Tensors are indices in Model.Tensors of everything the view reads, the main
	// tensor first. A tensor may serve several views (a shared scale).
	Tensors []int
	// DType is the main tensor's type.
	DType formats.DType
	// Shape is the logical shape: unpacked, transposed to [out, in] where the
	// scheme stores [in, out], with a last axis of 2 for complex types.
	Shape []int64
	// Rows and Cols are the shape as a matrix, see Matrix.
	Rows, Cols int64
	// Kernels gives decoders that readers take before their own; nil: none.
	Kernels Kernels

	open func() (rowSource, error)
}

// Kernels returns a faster decoder of a type that makes the same numbers as Decode, nil where there is none.
// The decoder returns how many of dst it wrote; where it is not all of them, Decode's does the work.
type Kernels func(d formats.DType) func(dst []float32, src []byte) int

// rowSource delivers len(dst) numbers from a column of a row on. It owns scratch
// memory and is used by one goroutine.
type rowSource interface {
	read(dst []float32, row, col int64) error
}

// maxKernel is the longest axis taken for one of a convolution kernel.
const maxKernel = 31

// Matrix says how a shape is seen as rows and columns. Axes of length one do not
// count, since converters add and squeeze them. One axis is one row; two are rows
// and columns. Of three and more, a convolution filter keeps one row per filter
// (all but the first axis are columns); it is known by kernel axes, at most 31
// long, at the end ([out, in, h, w]) or behind the first ([out, h, w, in]).
// Otherwise the last axis is the columns and all others are rows, so that stacked
// experts and [h, w, in, out] filters stay matrices of whole rows. False where
// the shape is impossible or empty.
func Matrix(shape []int64) (rows, cols int64, ok bool) {
	n, ok := formats.Elements(shape)
	if !ok || n == 0 {
		return 0, 0, false
	}
	// The first, second and last of the axes that are longer than one.
	first, second, last, count := int64(1), int64(1), int64(1), 0
	for _, d := range shape {
		if d == 1 {
			continue
		}
		if count++; count == 1 {
			first = d
		} else if count == 2 {
			second = d
		}
		last = d
	}
	switch {
	case count <= 1:
		return 1, n, true
	case count == 2:
		return first, last, true
	case last <= maxKernel, first > maxKernel && second <= maxKernel:
		return first, n / first, true
	}
	return n / last, last, true
}

// Views lists the matrices of a model: families of packed tensors first found by
// shapes and types that fit together, every other readable tensor as a view of
// its own, all in file order of their main tensors. Tensors that no view holds
// cannot be read as numbers: opaque types, unreachable or truncated data, empty
// or impossible shapes. m must not change while the views are in use.
func Views(m *formats.Model) []View {
	if len(m.Parts) == 0 {
		return viewsOfFile(m)
	}
	var views []View
	from := 0
	for _, end := range append(slices.Clone(m.Parts), len(m.Tensors)) {
		file := viewsOfFile(&formats.Model{Tensors: m.Tensors[from:end:end]})
		for i := range file {
			for k := range file[i].Tensors {
				file[i].Tensors[k] += from
			}
		}
		views, from = append(views, file...), end
	}
	return views
}

func viewsOfFile(m *formats.Model) []View {
	f := newFinder(m)
	found := f.find()
	var views []View
	for i := range m.Tensors {
		if v, ok := found[i]; ok {
			views = append(views, v)
		} else if v, ok := single(&m.Tensors[i]); ok && !f.used[i] {
			v.Tensors = []int{i}
			views = append(views, v)
		}
	}
	return views
}

// single is the view of one tensor by itself.
func single(t *formats.Tensor) (View, bool) {
	shape := t.Shape
	if Numbers(t.DType) == 2 {
		shape = append(append([]int64(nil), t.Shape...), 2)
	}
	rows, cols, ok := Matrix(t.Shape)
	if !ok || !readable(t) {
		return View{}, false
	}
	if t.DType.IsBlock() {
		return block(t)
	}
	cols *= Numbers(t.DType)
	return View{Name: t.Name, Scheme: Plain, DType: t.DType, Shape: shape, Rows: rows, Cols: cols,
		open: func() (rowSource, error) { return openTensor(t, cols) }}, CanDecode(t.DType)
}

// block is the view of a readable tensor of blocks. They run along the last
// axis, whatever the other axes mean.
func block(t *formats.Tensor) (View, bool) {
	cols := t.Shape[len(t.Shape)-1]
	rows := t.Elements() / cols
	v := View{Name: t.Name, Scheme: Block, DType: t.DType, Shape: t.Shape, Rows: rows, Cols: cols}
	if w, ok := weave(t.DType); ok {
		v.open = func() (rowSource, error) { return openInterleaved(t, rows, cols), nil }
		return v, t.Shape[max(0, len(t.Shape)-2)]%w.group == 0 && len(t.Shape) > 1
	}
	v.open = func() (rowSource, error) { return openTensor(t, cols) }
	return v, CanDecode(t.DType)
}

// readable reports whether the bytes of every element of t can be reached.
func readable(t *formats.Tensor) bool {
	e := t.Data
	n, ok := formats.Elements(t.Shape)
	if !ok || n == 0 || n > 1<<61 || e.Source == nil || e.Offset < 0 || e.Length < 0 ||
		e.Offset > e.Source.Size() || e.Length > e.Source.Size()-e.Offset {
		return false
	}
	if _, _, ok := t.DType.ByteOrder(); e.BigEndian && !ok {
		return false
	}
	if e.Strides != nil {
		return stridesFit(t)
	}
	if t.DType.IsBlock() {
		if len(t.Shape) == 0 {
			return false
		}
		if per, _ := t.DType.Block(); per == 0 || t.Shape[len(t.Shape)-1]%per != 0 {
			return false
		}
	}
	need, err := packedBytes(t.DType, n*Numbers(t.DType))
	return err == nil && need <= e.Length
}
