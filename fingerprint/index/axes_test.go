package index_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/fingerprint/index"
	"weightwarden/formats"
)

// array is a tensor of any number of axes.
type array struct {
	name  string
	shape []int
	data  []float32
}

func randomArray(rng *rand.Rand, name string, shape ...int) array {
	n := 1
	for _, d := range shape {
		n *= d
	}
	a := array{name, shape, make([]float32, n)}
	for i := range a.data {
		a.data[i] = float32(rng.NormFloat64() * .02)
	}
	return a
}

// permute moves the axes: axis i of the result is axis axes[i] of a.
func (a array) permute(axes ...int) array {
	out := array{a.name, nil, make([]float32, len(a.data))}
	strides := make([]int, len(a.shape))
	step := 1
	for i := len(a.shape) - 1; i >= 0; i-- {
		strides[i] = step
		step *= a.shape[i]
	}
	for _, x := range axes {
		out.shape = append(out.shape, a.shape[x])
	}
	for i := range out.data {
		rest, off := i, 0
		for k := len(axes) - 1; k >= 0; k-- {
			off += rest % out.shape[k] * strides[axes[k]]
			rest /= out.shape[k]
		}
		out.data[i] = a.data[off]
	}
	return out
}

// split makes one tensor of each index of the first axis.
func (a array) split() (out []array) {
	n := len(a.data) / a.shape[0]
	for i := range a.shape[0] {
		out = append(out, array{fmt.Sprintf("%s.%d", a.name, i), a.shape[1:], a.data[i*n : (i+1)*n]})
	}
	return out
}

func compute(t *testing.T, arrays []array, d formats.DType, opt fingerprint.Options) (*fingerprint.Fingerprint, *formats.Model) {
	t.Helper()
	var ms []ft.Matrix
	for _, a := range arrays {
		cols := a.shape[len(a.shape)-1]
		ms = append(ms, ft.Matrix{Name: a.name, Rows: len(a.data) / cols, Cols: cols, Data: a.data})
	}
	src, m := ft.File("header", ms, d)
	for i, a := range arrays {
		m.Tensors[i].Shape = nil
		for _, n := range a.shape {
			m.Tensors[i].Shape = append(m.Tensors[i].Shape, int64(n))
		}
	}
	fp, err := fingerprint.Compute(context.Background(), src, m, opt)
	if err != nil {
		t.Fatal(err)
	}
	return fp, m
}

func each(arrays []array, f func(array) []array) (out []array) {
	for _, a := range arrays {
		out = append(out, f(a)...)
	}
	return out
}

func axesOrder(axes ...int) func(array) []array {
	return func(a array) []array {
		if len(a.shape) != len(axes) {
			return []array{a}
		}
		return []array{a.permute(axes...)}
	}
}

// Converters between frameworks move the axes of filters and experts, and put experts
// together or take them apart: the model is found in every order, a stranger in none.
func TestAxesMovedAndExpertsStacked(t *testing.T) {
	filters := func(seed uint64) []array {
		rng := rand.New(rand.NewPCG(seed, 1))
		return []array{randomArray(rng, "stem", 64, 8, 5, 5), randomArray(rng, "one", 96, 64, 3, 3), randomArray(rng, "two", 96, 96, 3, 3),
			randomArray(rng, "video", 64, 16, 3, 3, 3)}
	}
	experts := func(seed uint64) []array {
		rng := rand.New(rand.NewPCG(seed, 2))
		return []array{randomArray(rng, "layers.0.up", 32, 96, 64), randomArray(rng, "layers.0.down", 32, 64, 96),
			randomArray(rng, "layers.1.up", 32, 96, 64), randomArray(rng, "layers.1.down", 32, 64, 96)}
	}
	turned := func(a array) []array { return []array{a.permute(0, 2, 1)} }
	apart := func(a array) []array { return a.split() }
	both := func(a array) []array { return each(turned(a), apart) }
	same := func(a array) []array { return []array{a} }
	for name, c := range map[string]struct {
		model func(uint64) []array
		ways  []func(array) []array
	}{
		"filters": {filters, []func(array) []array{same, axesOrder(2, 3, 1, 0), axesOrder(0, 2, 3, 1), axesOrder(1, 0, 2, 3), axesOrder(2, 3, 0, 1)}},
		"experts": {experts, []func(array) []array{same, turned, apart, both}},
	} {
		for r, registered := range c.ways {
			db := index.New()
			fp, _ := compute(t, each(c.model(1), registered), formats.F32, fingerprint.Options{Register: true})
			add(t, db, "ours", "1", "protected", fp)
			fp, _ = compute(t, each(c.model(2), registered), formats.F32, fingerprint.Options{Register: true})
			add(t, db, "another", "1", "protected", fp)
			for s, suspect := range c.ways {
				for seed, want := range map[uint64]string{1: "ours", 9: ""} {
					if want == "" && s != (r+1)%len(c.ways) {
						continue // a stranger once for every order
					}
					fp, m := compute(t, each(c.model(seed), suspect), formats.BF16, fingerprint.Options{})
					got, err := db.MatchFile(context.Background(), fp, m, fingerprint.Options{})
					if err != nil {
						t.Fatal(err)
					}
					if want == "" {
						if len(got) > 0 {
							t.Errorf("%s registered in order %d, a stranger in %d: %+v", name, r, s, got[0])
						}
						continue
					}
					if len(got) == 0 || got[0].Model != want || got[0].Coverage.Parameters < .9 ||
						!slices.Contains([]fingerprint.Relation{fingerprint.Cast, fingerprint.Reparameterised}, got[0].Relation) {
						t.Errorf("%s registered in order %d, found in %d: %+v", name, r, s, got)
					}
				}
			}
		}
	}
}

// Tensors that share their bytes do not make a small file a long read.
func TestSharedBytesReadInOtherWays(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	db := index.New()
	fp, _ := compute(t, []array{randomArray(rng, "expert", 128, 256)}, formats.F32, fingerprint.Options{Register: true})
	add(t, db, "ours", "1", "protected", fp)
	src, m := ft.File("header", []ft.Matrix{{Name: "x", Rows: 4 * 256, Cols: 128, Data: randomArray(rng, "x", 4, 256, 128).data}}, formats.F32)
	m.Tensors[0].Shape = []int64{4, 256, 128}
	for i := range 500 {
		again := m.Tensors[0]
		again.Name = fmt.Sprint("x", i)
		m.Tensors = append(m.Tensors, again)
	}
	sus, err := fingerprint.Compute(t.Context(), src, m, fingerprint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	read := int64(0)
	count := fingerprint.Options{Progress: func(n int64) { read += n }}
	if _, err := db.MatchFile(t.Context(), sus, m, count); err != nil {
		t.Fatal(err)
	}
	if most := 32*src.Size() + 64<<20; read == 0 || read > most {
		t.Errorf("%d bytes were read again of a file of %d", read, src.Size())
	}
}
