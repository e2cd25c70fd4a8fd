package fingerprint_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"weightwarden/fingerprint"
	"weightwarden/formats"
)

// noise is a source of pseudo-random bytes of any size, made as they are read.
type noise struct{ size int64 }

func (n *noise) Size() int64 { return n.size }

func (n *noise) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		if off+int64(i) >= n.size {
			return i, io.EOF
		}
		z := uint64(off+int64(i)) * 0x9e3779b97f4a7c15
		z ^= z >> 29
		p[i] = byte(z*0xbf58476d1ce4e5b9>>56)&0x3f | 0x20
	}
	return len(p), nil
}

// shapes is the architecture of a 7B (32 layers) or 70B model (80) with its rows cut to
// a 64th: the size of a fingerprint hangs on the number of matrices, not on their size.
func shapes(layers int) *formats.Model {
	src := &noise{}
	m := &formats.Model{Format: "test"}
	add := func(name string, shape ...int64) {
		n, _ := formats.Elements(shape)
		m.Tensors = append(m.Tensors, formats.Tensor{Name: name, DType: formats.BF16, Shape: shape,
			Data: formats.Extent{Source: src, Offset: src.size, Length: 2 * n}})
		src.size += 2 * n
	}
	for l := range layers {
		for _, n := range []string{"q", "k", "v", "o"} {
			add(fmt.Sprintf("model.layers.%d.self_attn.%s_proj.weight", l, n), 64, 256)
		}
		add(fmt.Sprintf("model.layers.%d.mlp.gate_proj.weight", l), 320, 256)
		add(fmt.Sprintf("model.layers.%d.mlp.up_proj.weight", l), 320, 256)
		add(fmt.Sprintf("model.layers.%d.mlp.down_proj.weight", l), 256, 320)
		add(fmt.Sprintf("model.layers.%d.input_layernorm.weight", l), 256)
		add(fmt.Sprintf("model.layers.%d.post_attention_layernorm.weight", l), 256)
	}
	add("model.embed_tokens.weight", 500, 256)
	add("lm_head.weight", 500, 256)
	return m
}

// TestSizes holds the promise of one megabyte for 7B and of two and a half for 70B,
// beside the chunk keys.
func TestSizes(t *testing.T) {
	for layers, most := range map[int]int{32: 1_000_000, 80: 2_500_000} {
		m := shapes(layers)
		fp, err := fingerprint.Compute(context.Background(), m.Tensors[0].Data.Source, m, fingerprint.Options{Register: true})
		if err != nil {
			t.Fatal(err)
		}
		keys := 0
		for _, p := range fp.Pieces {
			keys += len(p.Chunks) * (len(fingerprint.ChunkKey{}) + 3)
		}
		size := len(fp.Encode()) - keys
		t.Logf("%d layers: %d bytes beside the chunk keys, %d layers with invariants", layers, size, len(fp.Layers))
		if size > most || len(fp.Layers) != layers {
			t.Errorf("%d layers: %d bytes, %d layers", layers, size, len(fp.Layers))
		}
	}
}
