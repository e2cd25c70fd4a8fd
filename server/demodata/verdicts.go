package demodata

import (
	"fmt"
	"math/rand/v2"

	"weightwarden/internal/api"
)

// parts are the tensors of one layer, with their share of width squared.
func parts() []struct {
	name  string
	share float64
} {
	return []struct {
		name  string
		share float64
	}{{"self_attn.q_proj.weight", 1}, {"self_attn.k_proj.weight", 1}, {"self_attn.v_proj.weight", 1}, {"self_attn.o_proj.weight", 1},
		{"mlp.gate_proj.weight", 2.67}, {"mlp.up_proj.weight", 2.67}, {"mlp.down_proj.weight", 2.66}, {"input_layernorm.weight", 0}, {"post_attention_layernorm.weight", 0}}
}

// verdict judges a copy as the matcher would have put it.
func verdict(r *rand.Rand, m *model, f file, word api.Word, p string) api.Verdict {
	v := api.Verdict{SchemaVersion: 1, Path: p, Size: f.size, Format: f.format, Verdict: word, Model: m.Name, ModelVersion: f.version, Kind: m.Kind, Artifact: f.name,
		Confidence: 1, BytesRead: f.size, Seconds: float64(f.size) / 1.4e9, Evidence: []api.Evidence{}, Findings: []api.Finding{}}
	whole := m.Name + " " + f.version
	coverage, cosine, relation, p1 := 1.0, 1.0, "exact", 1e-300
	say := func(kind, text string, value float64, bound string) {
		v.Evidence = append(v.Evidence, api.Evidence{Kind: kind, Text: text, Value: value, PValue: &p1, Bound: bound})
	}
	switch word {
	case api.Identical:
		v.Sentence = fmt.Sprintf("This is %s: every tensor is the same, bit for bit.", whole)
		v.Digests = &api.Digests{Content: f.content, BLAKE3: digestOf("b3" + f.content), SHA256: digestOf("sha" + f.content)}
		say("content_digest", "The content digest over all tensors is the registered one.", 1, "digest")
	case api.Repackaged:
		v.Sentence = fmt.Sprintf("This is %s in another container: names and order changed, every tensor is the same.", whole)
		v.Format = "pytorch"
		v.Digests = &api.Digests{Content: f.content, BLAKE3: digestOf("re" + p)}
		say("tensor_digest", fmt.Sprintf("%d of %d tensors have registered digests.", m.tensors(), m.tensors()), float64(m.tensors()), "digest")
	case api.Partial:
		coverage = 0.08 + 0.6*r.Float64()
		v.Sentence = fmt.Sprintf("A part of %s: %.0f %% of its bytes are in this file.", whole, coverage*100)
		v.Size = int64(float64(f.size) * coverage)
		say("chunks", "Content-defined chunks of the registered file were found in order.", coverage, "digest")
	case api.Cast:
		cosine, relation = 0.99998, "cast"
		v.Sentence = fmt.Sprintf("This is %s in other numbers: bfloat16 became float16.", whole)
		say("aligned_rows", "Rows line up with those registered at a cosine of 0.99998.", cosine, "exchangeable-poisson")
	case api.Quantised:
		cosine, relation = 0.9962, "quantised"
		v.Format, v.Size = "gguf", f.size*5/16
		v.Sentence = fmt.Sprintf("This is %s, quantised to 4 bits (Q4_K).", whole)
		say("aligned_rows", "Rows line up with those registered at a cosine of 0.9962.", cosine, "exchangeable-poisson")
	case api.Derived:
		cosine, relation, p1 = 0.981, "derived", 1e-118
		v.Sentence = fmt.Sprintf("Trained on from %s: it shares the weights it began with.", whole)
		say("aligned_rows", "The lower layers hardly moved; the upper ones were trained.", cosine, "exchangeable-poisson")
	case api.Merged:
		cosine, relation, p1 = 0.87, "merged", 1e-64
		coverage = 0.94
		v.Sentence = fmt.Sprintf("A merge that %s is a part of, with a weight of about 0.6.", whole)
		say("merge", "A mixture of this model and open-base-8b explains the weights.", 0.6, "control-calibrated")
		v.Others = []api.Other{{Model: "open-base-8b", ModelVersion: "1.0", Kind: api.KindPublic, Verdict: api.Merged, Coverage: api.Coverage{Bytes: 0.91, Tensors: 0.95, Parameters: 0.91}}}
	case api.Reparameterised:
		cosine, relation, p1 = 0.93, "derived", 3e-7
		v.Sentence = fmt.Sprintf("Probably %s with its neurons in another order: a person should look.", whole)
		say("aligned_rows", "After the rows are put in order they line up.", cosine, "control-calibrated")
	case api.Inconclusive:
		v.Model, v.ModelVersion, v.Kind, v.Artifact, v.Format, v.Confidence = "", "", "", "", "unknown", 0
		v.Sentence = "The file looks encrypted: nothing can be said about what is in it."
		v.Findings = append(v.Findings, api.Finding{Code: "high_entropy", Severity: "unread", Text: "7.99 bits per byte over the whole file and no known header", Offset: -1})
		return v
	}
	v.PValue = &p1
	v.Coverage = api.Coverage{Bytes: coverage, Tensors: coverage, Parameters: coverage}
	v.Tensors = tensors(r, m, word, relation, coverage, cosine)
	return v
}

// tensors says which tensor became which, at most a thousand as in hits.
func tensors(r *rand.Rand, m *model, word api.Word, relation string, coverage, cosine float64) []api.TensorMatch {
	var out []api.TensorMatch
	for layer := range m.layers {
		if coverage < 1 && float64(layer) >= coverage*float64(m.layers) {
			break
		}
		for _, p := range parts() {
			if len(out) >= 700 {
				return out
			}
			n := max(int64(p.share*float64(m.width*m.width)), m.width)
			name := fmt.Sprintf("model.layers.%d.%s", layer, p.name)
			c := cosine
			if word == api.Derived || word == api.Merged {
				c = 1 - (1-cosine)*2*float64(layer)/float64(m.layers)*(0.5+r.Float64())
			} else if cosine < 1 {
				c = 1 - (1-cosine)*(0.4+1.2*r.Float64())
			}
			t := api.TensorMatch{Suspect: name, Registered: name, Relation: relation, Cosine: c, Parameters: n}
			if word == api.Quantised {
				t.Suspect = fmt.Sprintf("blk.%d.%s", layer, p.name)
			}
			out = append(out, t)
		}
	}
	return append(out, api.TensorMatch{Suspect: "model.embed_tokens.weight", Registered: "model.embed_tokens.weight", Relation: relation, Cosine: cosine, Parameters: 32000 * m.width})
}
