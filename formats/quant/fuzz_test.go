package quant_test

import (
	"math"
	"slices"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/quant"
	"weightwarden/internal/fixtures"
)

// FuzzDecode gives every type random bytes. Whatever they are, as many numbers
// come out as were asked for, NaN and infinities among them, and a block's numbers
// depend on its own bytes alone.
func FuzzDecode(f *testing.F) {
	for _, path := range fixtures.Glob(f, "quant/ggml/*.packed") {
		b := readFile(f, path)
		f.Add(uint16(1002), b[:min(len(b), 600)], uint16(256))
	}
	for d := range uint16(1100) {
		if quant.CanDecode(formats.DType(d)) {
			f.Add(d, []byte("\x00\x01\x7f\x80\xff\xfe\x55\xaa some bytes that fill a block or two, or only a part of one"), uint16(32))
		}
	}
	f.Fuzz(func(t *testing.T, dtype uint16, src []byte, n uint16) {
		d := formats.DType(dtype)
		dst := make([]float32, int(n)+1)
		dst[n] = 42
		err := quant.Decode(d, dst[:n], src)
		if dst[n] != 42 {
			t.Fatal("wrote beyond the end")
		}
		if err != nil {
			if !quant.CanDecode(d) || int64(n)%quant.Numbers(d) != 0 || len(src) < 4096 {
				return
			}
			if need, ok := d.Bytes(int64(n) / quant.Numbers(d)); ok && need <= int64(len(src)) {
				t.Fatalf("%s: %d numbers of %d bytes: %v", d, n, len(src), err)
			}
			return
		}
		checkBlocksAlone(t, d, dst[:n], src)
	})
}

// checkBlocksAlone decodes the last block by itself.
func checkBlocksAlone(t *testing.T, d formats.DType, all []float32, src []byte) {
	t.Helper()
	per, bits := d.Block()
	if bits%8 != 0 || len(all) == 0 {
		return
	}
	count := int(per * quant.Numbers(d))
	at := (len(all)/count - 1) * int(bits/8)
	one := make([]float32, count)
	if err := quant.Decode(d, one, src[at:at+int(bits/8)]); err != nil {
		t.Fatal(err)
	}
	equalNumbers(t, one, all[len(all)-count:])
}

// FuzzViews makes a model of random tensors, many of which fit each other, and
// reads every view in two ways.
func FuzzViews(f *testing.F) {
	for _, name := range []string{"gptq_4bit_act_order", "awq_gemm", "awq_gemv_fast", "bnb_nf4_nested", "ct_int4_zero_point", "mlx_4bit_64",
		"mxfp4_blocks", "nvfp4_modelopt", "nbits", "fp8_block", "int8_row"} {
		m, _ := readCase(f, fixtures.Path(f, "quant", "families", name+".safetensors"))
		f.Add(recipeOf(m), []byte("\x3c\x00\x01\x7f\x80\xff{\"shape\":[8,64]}"), false)
	}
	f.Fuzz(func(t *testing.T, recipe, data []byte, bigEndian bool) {
		m := modelOf(recipe, data, bigEndian)
		views := quant.Views(m)
		seen := make([]bool, len(m.Tensors))
		for i := range views {
			for _, k := range views[i].Tensors {
				if seen[k] {
					t.Fatalf("tensor %d is in two views", k)
				}
				seen[k] = true
			}
			checkView(t, &views[i])
		}
	})
}

var (
	fuzzTypes = []formats.DType{formats.I32, formats.F16, formats.U8, formats.F32, formats.I8, formats.U32, formats.F8E4M3, formats.I64,
		formats.I16, formats.BF16, formats.F8E8M0, formats.Q4_0, formats.Q8_0, formats.Q4_0_44, formats.U4, formats.F6E2M3, formats.C64,
		formats.NVFP4, formats.F4E2M1, formats.Unknown}
	fuzzLengths = []int64{1, 2, 3, 4, 8, 16, 24, 32, 64, 96, 128, 256, 512, 5, 7, 0}
	fuzzNames   = []string{"a.weight", "a.qweight", "a.qzeros", "a.scales", "a.g_idx", "a.weight_scale", "a.weight_zero_point", "a.biases",
		"b.weight", "b.scales", "x_blocks", "x_scales", "", "a.weight_shape", "a.weight.absmax", "a.weight.quant_state"}
)

// modelOf reads four bytes a tensor: name, type, and two lengths, with an axis
// more where the name's high bits say so. The tensors share the data, repeated.
func modelOf(recipe, data []byte, bigEndian bool) *formats.Model {
	m := &formats.Model{}
	for ; len(recipe) >= 4 && len(m.Tensors) < 12; recipe = recipe[4:] {
		t := formats.Tensor{Name: fuzzNames[recipe[0]%16], DType: fuzzTypes[int(recipe[1])%len(fuzzTypes)]}
		for axis, b := range recipe[2:4] {
			if axis == 0 && recipe[0]&0x40 != 0 {
				t.Shape = append(t.Shape, fuzzLengths[b>>4])
			}
			if axis == 1 || recipe[0]&0x80 == 0 {
				t.Shape = append(t.Shape, fuzzLengths[b&15])
			}
		}
		size, ok := t.DType.Bytes(t.Elements())
		if !ok || size > 1<<18 {
			size = 64
		}
		b := make([]byte, size)
		for i := range b {
			if len(data) > 0 {
				b[i] = data[(i+int(recipe[3]>>4))%len(data)]
			}
		}
		t.Data = formats.Extent{Source: formats.BytesSource(b), Length: size, BigEndian: bigEndian}
		if recipe[1] >= 0xc0 && len(t.Shape) == 2 {
			t.Data.Strides = []int64{int64(recipe[3] >> 6), t.Shape[0]}
		}
		m.Tensors = append(m.Tensors, t)
	}
	return m
}

// recipeOf is a recipe of a model with the types and, as near as it gets, the
// shapes of another one.
func recipeOf(m *formats.Model) []byte {
	var recipe []byte
	for _, t := range m.Tensors {
		step := [4]byte{byte(len(m.Tensors) % 16), byte(max(slices.Index(fuzzTypes, t.DType), 0)), 0, 0}
		for i, name := range fuzzNames {
			if len(t.Name) > 4 && len(name) > 4 && t.Name[len(t.Name)-4:] == name[len(name)-4:] {
				step[0] = byte(i)
			}
		}
		shape := t.Shape
		if len(shape) == 1 {
			step[0] |= 0x80
			shape = []int64{1, shape[0]}
		}
		for i, d := range shape[max(0, len(shape)-2):] {
			step[2+i] = byte(max(slices.Index(fuzzLengths, d), 0))
		}
		recipe = append(recipe, step[:]...)
	}
	return recipe
}

// checkView reads a view at once and in parts.
func checkView(t *testing.T, v *quant.View) {
	t.Helper()
	if v.Rows < 1 || v.Cols < 1 || v.Rows > 1<<24/v.Cols {
		t.Fatalf("view %q has %d by %d numbers of so little data", v.Name, v.Rows, v.Cols)
	}
	r, err := v.Reader()
	if err != nil {
		return // a family whose parts turned out not to fit
	}
	n := min(v.Rows, 1+(1<<16)/v.Cols)
	all := make([]float32, n*v.Cols)
	if err := r.ReadRows(all, 0, n); err != nil {
		return
	}
	part := make([]float32, min(v.Cols, 5))
	row, col := n/2, (v.Cols-int64(len(part)))/2
	if err := r.ReadPart(part, row, col); err != nil {
		t.Fatalf("view %q (%s) reads whole but not in part: %v", v.Name, v.Scheme, err)
	}
	for i, x := range part {
		if w := all[row*v.Cols+col+int64(i)]; math.Float32bits(x) != math.Float32bits(w) && !(x != x && w != w) {
			t.Fatalf("view %q (%s) row %d column %d: %v in part, %v whole", v.Name, v.Scheme, row, col+int64(i), x, w)
		}
	}
}
