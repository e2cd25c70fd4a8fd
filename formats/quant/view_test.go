package quant_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weightwarden/formats"
	"weightwarden/formats/quant"
)

func TestMatrix(t *testing.T) {
	tests := []struct {
		name       string
		shape      []int64
		rows, cols int64
		ok         bool
	}{
		{"scalar", nil, 1, 1, true},
		{"vector", []int64{7}, 1, 7, true},
		{"unit axes", []int64{1, 1, 7, 1}, 1, 7, true},
		{"matrix", []int64{3, 5}, 3, 5, true},
		{"1x1 convolution", []int64{64, 32, 1, 1}, 64, 32, true},
		{"OIHW", []int64{64, 32, 3, 3}, 64, 288, true},
		{"OHWI", []int64{64, 3, 3, 32}, 64, 288, true},
		{"HWIO", []int64{3, 3, 32, 64}, 288, 64, true},
		{"depthwise", []int64{64, 1, 5}, 64, 5, true},
		{"experts", []int64{8, 1024, 512}, 8192, 512, true},
		{"many experts", []int64{128, 1024, 512}, 131072, 512, true},
		{"empty", []int64{3, 0}, 0, 0, false},
		{"negative", []int64{-3, -2}, 0, 0, false},
		{"overflow", []int64{1 << 40, 1 << 40}, 0, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows, cols, ok := quant.Matrix(tt.shape)
			if rows != tt.rows || cols != tt.cols || ok != tt.ok {
				t.Errorf("Matrix(%v) = %d, %d, %v, want %d, %d, %v", tt.shape, rows, cols, ok, tt.rows, tt.cols, tt.ok)
			}
		})
	}
}

// counted are the f32 numbers 0..n-1 as bytes.
func counted(n int, order binary.ByteOrder) []byte {
	b := make([]byte, 4*n)
	for i := range n {
		order.PutUint32(b[4*i:], math.Float32bits(float32(i)))
	}
	return b
}

func tensor(name string, d formats.DType, data []byte, shape ...int64) formats.Tensor {
	return formats.Tensor{Name: name, DType: d, Shape: shape,
		Data: formats.Extent{Source: formats.BytesSource(data), Length: int64(len(data))}}
}

// readAll reads a view in one call and row by row from the last, and fails where
// the two differ.
func readAll(t *testing.T, v *quant.View) []float32 {
	t.Helper()
	r, err := v.Reader()
	if err != nil {
		t.Fatal(err)
	}
	all := make([]float32, v.Rows*v.Cols)
	if err := r.ReadRows(all, 0, v.Rows); err != nil {
		t.Fatal(err)
	}
	single := make([]float32, len(all))
	for row := v.Rows - 1; row >= 0; row-- {
		if err := r.ReadRows(single[row*v.Cols:(row+1)*v.Cols], row, 1); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(all, single, same); diff != "" {
		t.Fatalf("rows one by one differ from all rows (-all +single):\n%s", diff)
	}
	for row := int64(0); row < v.Rows; row += 1 + v.Rows/8 {
		for col := int64(0); col < v.Cols; col += 1 + v.Cols/3 {
			part := make([]float32, min(3, v.Cols-col))
			if err := r.ReadPart(part, row, col); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(all[row*v.Cols+col:][:len(part)], part, same); diff != "" {
				t.Fatalf("part at row %d column %d (-all +part):\n%s", row, col, diff)
			}
		}
	}
	return all
}

func TestViewsOfPlainTensors(t *testing.T) {
	strided := func(shape, strides []int64, offset int64) formats.Tensor {
		x := tensor("x", formats.F32, counted(24, binary.LittleEndian), shape...)
		x.Data.Strides, x.Data.Offset = strides, offset
		x.Data.Length -= offset
		return x
	}
	big := tensor("x", formats.F32, counted(3, binary.BigEndian), 3)
	big.Data.BigEndian = true
	tests := []struct {
		name   string
		tensor formats.Tensor
		want   []float32
	}{
		{"contiguous", tensor("x", formats.F32, counted(6, binary.LittleEndian), 2, 3), []float32{0, 1, 2, 3, 4, 5}},
		{"big-endian", big, []float32{0, 1, 2}},
		{"transposed", strided([]int64{4, 2}, []int64{1, 4}, 0), []float32{0, 4, 1, 5, 2, 6, 3, 7}},
		{"slice", strided([]int64{2, 3}, []int64{8, 2}, 4), []float32{1, 3, 5, 9, 11, 13}},
		{"backwards", strided([]int64{2, 2}, []int64{-4, 1}, 16), []float32{4, 5, 0, 1}},
		{"expanded", strided([]int64{2, 3}, []int64{0, 1}, 0), []float32{0, 1, 2, 0, 1, 2}},
		{"permuted", strided([]int64{2, 2, 3}, []int64{1, 6, 2}, 0), []float32{0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11}},
		{"odd nibbles", tensor("x", formats.U4, []byte{0x10, 0x32, 0x54, 0x76, 0x08}, 3, 3), []float32{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		{"complex", tensor("x", formats.C64, counted(8, binary.LittleEndian), 2, 2), []float32{0, 1, 2, 3, 4, 5, 6, 7}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			views := quant.Views(&formats.Model{Tensors: []formats.Tensor{tt.tensor}})
			if len(views) != 1 {
				t.Fatalf("%d views, want 1", len(views))
			}
			if diff := cmp.Diff(tt.want, readAll(t, &views[0]), same); diff != "" {
				t.Errorf("numbers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestViewsLeaveOutWhatCannotBeRead(t *testing.T) {
	far := tensor("x", formats.F32, make([]byte, 64), 2, 2)
	far.Data.Strides = []int64{1, 1 << 60}
	flood := tensor("x", formats.F32, make([]byte, 64), 1<<30, 1<<30)
	flood.Data.Strides = []int64{0, 0}
	nowhere := tensor("x", formats.F32, nil, 2)
	nowhere.Data.Source = nil
	outside := tensor("x", formats.F32, make([]byte, 8), 2)
	outside.Data.Offset = 4
	tests := []struct {
		name   string
		tensor formats.Tensor
	}{
		{"opaque", tensor("x", formats.Unknown, make([]byte, 8), 8)},
		{"truncated", tensor("x", formats.F32, make([]byte, 8), 3)},
		{"empty", tensor("x", formats.F32, nil, 0)},
		{"overflow", tensor("x", formats.F32, make([]byte, 8), 1<<40, 1<<40)},
		{"ragged block row", tensor("x", formats.Q8_0, make([]byte, 34), 2, 16)},
		{"strides outside", far},
		{"more numbers than bytes", flood},
		{"no source", nowhere},
		{"extent outside", outside},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if views := quant.Views(&formats.Model{Tensors: []formats.Tensor{tt.tensor}}); len(views) != 0 {
				t.Errorf("%d views, want none", len(views))
			}
		})
	}
}

func TestReaderRefusesWrongRanges(t *testing.T) {
	m := &formats.Model{Tensors: []formats.Tensor{tensor("x", formats.F32, counted(6, binary.LittleEndian), 2, 3)}}
	views := quant.Views(m)
	r, err := views[0].Reader()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ numbers, first, n int64 }{{3, -1, 1}, {3, 2, 1}, {3, 0, -1}, {5, 0, 2}, {3, 1, math.MaxInt64}} {
		if err := r.ReadRows(make([]float32, tt.numbers), tt.first, tt.n); err == nil {
			t.Errorf("ReadRows of %d numbers at %d+%d passes", tt.numbers, tt.first, tt.n)
		}
	}
	for _, tt := range []struct{ numbers, row, col int64 }{{1, -1, 0}, {1, 2, 0}, {1, 0, 3}, {2, 0, 2}, {1, 0, -1}} {
		if err := r.ReadPart(make([]float32, tt.numbers), tt.row, tt.col); err == nil {
			t.Errorf("ReadPart of %d numbers at %d,%d passes", tt.numbers, tt.row, tt.col)
		}
	}
}
