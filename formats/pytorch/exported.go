package pytorch

import (
	"context"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"weightwarden/formats"
)

// configBytes bounds the JSON of an exported program's weights.
const configBytes = 32 << 20

// exportedConfig is data/weights/NAME_weights_config.json of a .pt2 file: which
// raw member holds which tensor. Source: torch/_export/serde/schema.py.
type exportedConfig struct {
	Config map[string]struct {
		PathName  string `json:"path_name"`
		UsePickle bool   `json:"use_pickle"`
		Meta      struct {
			DType   int   `json:"dtype"`
			Sizes   []dim `json:"sizes"`
			Strides []dim `json:"strides"`
			Offset  dim   `json:"storage_offset"`
		} `json:"tensor_meta"`
	} `json:"config"`
}

type dim struct {
	Int *int64 `json:"as_int"`
}

// exportedConfigs returns the entries that may be such a config.
func (z *zipFile) exportedConfigs() []int {
	var out []int
	for i := range z.archive.Entries {
		name := fold(z.archive.Entries[i].Name)
		if strings.HasSuffix(name, "_weights_config.json") || strings.HasSuffix(name, "_constants_config.json") {
			out = append(out, i)
		}
	}
	return out
}

// exported lists the tensors of one config.
func (z *zipFile) exported(ctx context.Context, i int) {
	e := &z.archive.Entries[i]
	src, off, n, err := z.open(ctx, i)
	if err != nil || n > min(configBytes, z.w.limits.HeaderBytes) {
		z.w.note("pytorch.exported", formats.Unread, e.Header, "%.200q cannot be read or is too large", e.Name)
		return
	}
	b := make([]byte, n)
	var config exportedConfig
	if err = formats.ReadFull(src, b, off); err == nil {
		err = json.Unmarshal(b, &config)
	}
	if err != nil {
		z.w.note("pytorch.exported", formats.Unread, e.Header, "%.200q is no list of weights: %.200q", e.Name, err.Error())
		return
	}
	z.used[i] = true
	names := make([]string, 0, len(config.Config))
	for name := range config.Config {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		c := config.Config[name]
		if c.UsePickle { // a file of its own; the container lists it
			continue
		}
		key := record{e.Part, path.Dir(fold(e.Name)) + "/" + fold(c.PathName)}
		at, ok := z.byName[key]
		shape, okShape := dims(c.Meta.Sizes)
		strides, okStrides := dims(c.Meta.Strides)
		if !ok || !okShape || !okStrides || len(shape) != len(strides) || c.Meta.Offset.Int == nil {
			z.w.note("pytorch.exported", formats.Unread, e.Header, "weight %.200q has no member, or an impossible size", name)
			continue
		}
		z.exportedTensor(ctx, name, at, formats.Tensor{DType: exportedDType(c.Meta.DType), Shape: shape}, strides, *c.Meta.Offset.Int)
	}
}

func (z *zipFile) exportedTensor(ctx context.Context, name string, at int, t formats.Tensor, strides []int64, offset int64) {
	src, off, n, err := z.open(ctx, at)
	elements, ok := formats.Elements(t.Shape)
	if err != nil || !ok {
		z.w.note("pytorch.exported", formats.Unread, z.archive.Entries[at].Header, "weight %.200q cannot be read", name)
		return
	}
	z.used[at] = true
	st := &storage{src: src, offset: off, length: n, dtype: t.DType}
	if err := place(&t, st, offset, strides, elements); err != nil {
		z.w.note("pytorch.exported", formats.Unread, off, "weight %.200q: %v", name, err)
		t.Data = formats.Extent{}
	}
	var root *trail
	z.w.add(t, root.child(name))
}

func dims(list []dim) ([]int64, bool) {
	out := make([]int64, len(list))
	for i, d := range list {
		if d.Int == nil {
			return nil, false
		}
		out[i] = *d.Int
	}
	return out, true
}

// exportedDType is the ScalarType of the export schema.
func exportedDType(n int) formats.DType {
	types := [...]formats.DType{1: formats.U8, 2: formats.I8, 3: formats.I16, 4: formats.I32, 5: formats.I64, 6: formats.F16, 7: formats.F32,
		8: formats.F64, 9: formats.C32, 10: formats.C64, 11: formats.C128, 12: formats.Bool, 13: formats.BF16, 28: formats.U16,
		29: formats.F8E4M3, 30: formats.F8E5M2, 31: formats.F8E4M3Z, 32: formats.F8E5M2Z, 33: formats.F8E8M0, 34: formats.U32, 35: formats.U64}
	if n < 0 || n >= len(types) {
		return formats.Unknown
	}
	return types[n]
}
