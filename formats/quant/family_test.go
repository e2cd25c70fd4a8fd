package quant_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/quant"
	"weightwarden/internal/fixtures"
)

// readCase reads a file of testdata/quant/families: its tensors in file order,
// and the numbers expected of them. (A whole safetensors reader is not the point
// here: the files are ours.)
func readCase(t testing.TB, path string) (m *formats.Model, want []float32) {
	t.Helper()
	file := readFile(t, path)
	n := int64(binary.LittleEndian.Uint64(file))
	var header map[string]struct {
		DType   string   `json:"dtype"`
		Shape   []int64  `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(file[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	m = &formats.Model{Format: "safetensors"}
	for name, h := range header {
		x := formats.Tensor{Name: name, DType: dtypeNamed(h.DType), Shape: h.Shape, Data: formats.Extent{
			Source: formats.BytesSource(file), Offset: 8 + n + h.Offsets[0], Length: h.Offsets[1] - h.Offsets[0]}}
		if name != "expected" {
			m.Tensors = append(m.Tensors, x)
			continue
		}
		want = make([]float32, x.Elements())
		if err := quant.Decode(formats.F32, want, file[x.Data.Offset:]); err != nil {
			t.Fatal(err)
		}
	}
	slices.SortFunc(m.Tensors, func(a, b formats.Tensor) int { return strings.Compare(a.Name, b.Name) })
	return m, want
}

func dtypeNamed(name string) formats.DType {
	for d := range formats.DType(64) {
		if d.String() == name {
			return d
		}
	}
	return formats.Unknown
}

// The numbers equal the reference bit for bit, see testdata/gen/quant/families.py
// for what the reference is.
func TestFamilies(t *testing.T) {
	schemes := map[string]string{"gptq": quant.GPTQ, "awq": quant.AWQ, "bnb": quant.BnB4, "ct": quant.Compressed, "mlx": quant.MLX,
		"fp8": quant.Scaled, "mxfp8": quant.Scaled, "mxfp4": quant.MXPair, "nvfp4": quant.NVPair, "int8": quant.Scaled, "uint8": quant.Scaled, "nbits": quant.NBits}
	for _, path := range fixtures.Glob(t, "quant/families/*.safetensors") {
		name := filepath.Base(path)
		t.Run(strings.TrimSuffix(name, ".safetensors"), func(t *testing.T) {
			m, want := readCase(t, path)
			v := mainView(t, quant.Views(m))
			kind, _, _ := strings.Cut(strings.TrimSuffix(name, ".safetensors"), "_")
			if v.Scheme != schemes[kind] {
				t.Fatalf("scheme %q, want %q; tensors %v", v.Scheme, schemes[kind], v.Tensors)
			}
			equalNumbers(t, readAll(t, v), want)
		})
	}
}

// mainView is the largest of the views; what else there may be are leftovers such
// as the bias of a layer.
func mainView(t *testing.T, views []quant.View) *quant.View {
	t.Helper()
	if len(views) == 0 {
		t.Fatal("no views")
	}
	best := 0
	for i, v := range views {
		if v.Rows*v.Cols > views[best].Rows*views[best].Cols {
			best = i
		}
	}
	return &views[best]
}

// Two layers of different size, and names that say nothing: the companions are
// found by their shapes and their place in the file.
func TestFamiliesWithoutNames(t *testing.T) {
	for _, path := range fixtures.Glob(t, "quant/families/*.safetensors") {
		name := strings.TrimSuffix(filepath.Base(path), ".safetensors")
		if strings.HasPrefix(name, "int8") || strings.HasPrefix(name, "uint8") || name == "fp8_row" || name == "fp8_tensor" || strings.HasPrefix(name, "nvfp4") {
			continue // one number for all or for a row: only names join it to a weight
		}
		t.Run(name, func(t *testing.T) {
			m, want := readCase(t, path)
			for i := range m.Tensors {
				m.Tensors[i].Name = fmt.Sprintf("%d", i)
			}
			equalNumbers(t, readAll(t, mainView(t, quant.Views(m))), want)
		})
	}
}

// Layers of the same shapes must not take each other's scales, whether the names,
// the order of the names or the order in the file tells them apart.
func TestFamiliesOfManyLayers(t *testing.T) {
	tests := []struct {
		name, file string
		parts      []string // of a layer, in order of name
		byKind     bool     // all tensors of a kind follow each other in the file
		rename     string
	}{
		{"names", "gptq_4bit_act_order", []string{"g_idx", "qweight", "qzeros", "scales"}, true, ""},
		{"order of names, before", "mlx_4bit_64", []string{"biases", "scales", "weight"}, true, "tensor_%05d"},
		{"order of names, around", "gptq_4bit_act_order", []string{"g_idx", "qweight", "qzeros", "scales"}, true, "tensor_%05d"},
		{"order in the file", "gptq_4bit_act_order", []string{"g_idx", "qweight", "qzeros", "scales"}, false, "%x"},
		{"order in the file, before", "mlx_4bit_64", []string{"biases", "scales", "weight"}, false, "%x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			one, want := readCase(t, fixtures.Path(t, "quant", "families", tt.file+".safetensors"))
			m, layerOf := layers(t, one, tt.parts, tt.byKind, tt.rename)
			views := quant.Views(m)
			if len(views) != manyLayers {
				t.Fatalf("%d views, want %d", len(views), manyLayers)
			}
			for _, v := range views {
				for _, k := range v.Tensors {
					if layerOf[k] != layerOf[v.Tensors[0]] || len(v.Tensors) != len(tt.parts) {
						t.Fatalf("view %q has tensors %v of layers %v", v.Name, v.Tensors, layerOf)
					}
				}
			}
			equalNumbers(t, readAll(t, &views[7]), want)
		})
	}
}

const manyLayers = 20

// layers repeats the tensors of a layer; layerOf says which one a tensor is of.
func layers(t *testing.T, one *formats.Model, parts []string, byKind bool, rename string) (m *formats.Model, layerOf []int) {
	t.Helper()
	m = &formats.Model{}
	for i := range manyLayers * len(parts) {
		layer, part := i/len(parts), i%len(parts)
		if byKind {
			layer, part = i%manyLayers, i/manyLayers
		}
		for _, x := range one.Tensors {
			if !strings.HasSuffix(x.Name, "."+parts[part]) {
				continue
			}
			place := layer*len(parts) + part
			switch rename {
			case "":
				x.Name = fmt.Sprintf("model.layers.%d.self_attn.q_proj.%s", layer, parts[part])
			case "%x": // names in no order at all
				x.Name = fmt.Sprintf(rename, uint32(place+1)*2654435761)
			default:
				x.Name = fmt.Sprintf(rename, place)
			}
			m.Tensors = append(m.Tensors, x)
			layerOf = append(layerOf, layer)
		}
	}
	return m, layerOf
}

// Tensors that merely resemble companions leave plain weights alone.
func TestFamiliesDoNotTakeOthers(t *testing.T) {
	m := &formats.Model{Tensors: []formats.Tensor{
		tensor("h.0.attn.bias", formats.U8, randomBytes(64*64), 64, 64),
		tensor("h.0.attn.c_attn.bias", formats.F32, counted(64, binary.LittleEndian), 64),
		tensor("h.0.attn.index", formats.I32, randomBytes(4*64*8), 64, 8),
		tensor("h.0.attn.weight", formats.F16, make([]byte, 2*64*64), 64, 64),
		tensor("h.0.codes", formats.I8, randomBytes(64*64), 64, 64),
		tensor("h.0.codes_bias", formats.F32, make([]byte, 4*64), 64),
	}}
	for _, v := range quant.Views(m) {
		if len(v.Tensors) != 1 || v.Scheme != quant.Plain {
			t.Errorf("%q is %s of %v, want a plain view of one tensor", v.Name, v.Scheme, v.Tensors)
		}
	}
}
