package judge

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/index"
	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/quant"
	"weightwarden/internal/api"
	"weightwarden/internal/fixtures"
)

var _ api.Judge = (*Judge)(nil)

func read(t *testing.T, name string) formats.BytesSource {
	t.Helper()
	b, err := os.ReadFile(fixtures.Path(t, "models", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func compute(t *testing.T, src formats.Source) *fingerprint.Fingerprint {
	t.Helper()
	m, err := all.Decoders().Decode(context.Background(), src, formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := fingerprint.Compute(context.Background(), src, m, fingerprint.Options{Register: true})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// registered is a judge whose registry holds aurora 3 of the kind.
func registered(t *testing.T, kind string) *Judge {
	t.Helper()
	db := index.New()
	err := db.Add(index.Entry{Model: "aurora", Version: "3", Kind: kind, Artifact: "aurora.safetensors",
		Fingerprint: compute(t, read(t, "aurora.safetensors"))})
	if err != nil {
		t.Fatal(err)
	}
	return &Judge{Decoder: all.Decoders(), Matcher: db, Registry: "test"}
}

func judged(t *testing.T, j *Judge, src formats.Source, quick bool) *api.Verdict {
	t.Helper()
	v, err := j.Judge(context.Background(), src, quick)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(v); err != nil {
		t.Fatalf("a verdict that JSON cannot hold: %v", err)
	}
	if v.Sentence == "" || v.Evidence == nil || v.Findings == nil || v.SchemaVersion != api.SchemaVersion {
		t.Errorf("incomplete verdict %+v", v)
	}
	return v
}

func hasFinding(v *api.Verdict, code string) bool {
	for _, f := range v.Findings {
		if f.Code == code {
			return true
		}
	}
	return false
}

func TestVerdicts(t *testing.T) {
	aurora, borealis := read(t, "aurora.safetensors"), read(t, "borealis.safetensors")
	cases := []struct {
		name    string
		kind    string
		src     formats.Source
		quick   bool
		want    api.Word
		finding string
	}{
		{"copy", api.KindProtected, aurora, false, api.Identical, ""},
		{"copy of a data set", api.KindDataset, aurora, false, api.Identical, ""},
		{"copy of a public model", api.KindPublic, aurora, false, api.PublicBase, ""},
		{"copy, quick", api.KindProtected, aurora, true, api.Repackaged, ""},
		{"fine-tuned, quick", api.KindProtected, read(t, "aurora-tuned.safetensors"), true, api.Derived, ""},
		{"fine-tuned", api.KindProtected, read(t, "aurora-tuned.safetensors"), false, api.Derived, ""},
		{"quantised", api.KindProtected, read(t, "aurora-q4_0.gguf"), false, api.Quantised, ""},
		{"converted", api.KindProtected, read(t, "aurora.pt"), false, api.Repackaged, ""},
		{"independent", api.KindProtected, borealis, false, api.NoMatch, ""},
		{"independent, quick", api.KindProtected, borealis, true, api.NoMatch, ""},
		{"truncated", api.KindProtected, aurora[:1_200_000], false, api.Partial, "safetensors.truncated"},
		{"truncated stranger", api.KindProtected, borealis[:1_200_000], false, api.Inconclusive, "safetensors.truncated"},
		{"truncated stranger, quick", api.KindProtected, borealis[:1_200_000], true, api.Inconclusive, "safetensors.truncated"},
		{"bytes behind the weights", api.KindProtected, formats.BytesSource(append(bytes.Clone(aurora), make([]byte, 100_000)...)), false, api.Repackaged, ""},
		{"empty", api.KindProtected, formats.BytesSource{}, false, api.NoMatch, "file.empty"},
		{"text", api.KindProtected, formats.BytesSource(strings.Repeat("no weights here. ", 1000)), false, api.NoMatch, "format.unknown"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			v := judged(t, registered(t, c.kind), c.src, c.quick)
			if v.Verdict != c.want {
				t.Errorf("%s, want %s: %s", v.Verdict, c.want, v.Sentence)
			}
			if c.finding != "" && !hasFinding(v, c.finding) {
				t.Errorf("no finding %q in %+v", c.finding, v.Findings)
			}
			if got := v.Model != ""; got != (c.want != api.NoMatch && c.want != api.Inconclusive) {
				t.Errorf("model %q with verdict %s", v.Model, v.Verdict)
			}
			if v.Verdict.IsHit() && ((v.Digests == nil) != c.quick || v.PValue == nil || *v.PValue > 1e-9 || v.Coverage.Parameters <= 0 || len(v.Tensors) == 0) {
				t.Errorf("a hit without its proof: %+v", v)
			}
		})
	}
}

// A file that cannot be read must never look clean.
func TestUnreadable(t *testing.T) {
	j := registered(t, api.KindProtected)
	borealis := read(t, "borealis.safetensors")
	v := judged(t, j, &broken{BytesSource: borealis, from: 1_000_000}, false)
	if v.Verdict != api.Inconclusive || !hasFinding(v, "bytes.unread") {
		t.Errorf("%s with findings %+v", v.Verdict, v.Findings)
	}
	if v := judged(t, j, &broken{BytesSource: read(t, "aurora.safetensors"), from: 1_000_000}, false); !v.Verdict.IsHit() {
		t.Errorf("what was read of a copy matches, but the verdict is %s", v.Verdict)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if v, err := j.Judge(ctx, borealis, false); err == nil || v != nil {
		t.Errorf("cancelled: %v, %v", v, err)
	}
}

// broken is a source whose device fails from some byte on.
type broken struct {
	formats.BytesSource
	from int64
}

// Lend says that the bytes are to be read.
func (b *broken) Lend(int64, int64, func([]byte) error) (bool, error) { return false, nil }

func (b *broken) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.from {
		n := max(0, min(b.from-off, int64(len(p))))
		n2, _ := b.BytesSource.ReadAt(p[:n], off)
		return n2, errors.New("input/output error")
	}
	return b.BytesSource.ReadAt(p, off)
}

// The parts of a model show together what each shows alone.
func TestJoin(t *testing.T) {
	j := registered(t, api.KindProtected)
	aurora := read(t, "aurora.safetensors")
	var parts []*Subject
	for _, part := range []formats.BytesSource{aurora[:1_200_000], tail(t, aurora, 15)} {
		s, err := j.Examine(context.Background(), part, false)
		if err != nil {
			t.Fatal(err)
		}
		v, err := j.Verdict(context.Background(), s, part)
		if err != nil {
			t.Fatal(err)
		}
		if v.Verdict != api.Partial {
			t.Fatalf("a part alone is %s: %s", v.Verdict, v.Sentence)
		}
		parts = append(parts, s)
	}
	set, err := JoinSubjects(parts)
	if err != nil {
		t.Fatal(err)
	}
	v, err := j.Verdict(context.Background(), set, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v.Verdict != api.Repackaged || v.Coverage.Parameters < 0.999 {
		t.Errorf("together: %s, coverage %+v", v.Verdict, v.Coverage)
	}

	other := *parts[1].Fingerprint
	other.KeyID[0] ^= 1
	if _, err := Join("x", []*fingerprint.Fingerprint{parts[0].Fingerprint, &other}); !errors.Is(err, ErrMixed) {
		t.Errorf("joined fingerprints of two keys: %v", err)
	}
	if _, err := Join("x", nil); err == nil {
		t.Error("joined nothing")
	}
}

// tail is a safetensors file of the tensors of src from number first on.
func tail(t *testing.T, src formats.BytesSource, first int) formats.BytesSource {
	t.Helper()
	m, err := all.Decoders().Decode(context.Background(), src, formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		DType   string   `json:"dtype"`
		Shape   []int64  `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	header := map[string]entry{}
	var body []byte
	for _, x := range m.Tensors[first:] {
		at := int64(len(body))
		body = append(body, src[x.Data.Offset:x.Data.Offset+x.Data.Length]...)
		header[x.Name] = entry{x.DType.String(), x.Shape, [2]int64{at, int64(len(body))}}
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 8, 8+len(text)+len(body))
	for i := range 8 {
		out[i] = byte(len(text) >> (8 * i))
	}
	return append(append(out, text...), body...)
}

// Every word of the matcher has a sentence, and numbers stay within what JSON holds.
func TestSentences(t *testing.T) {
	s := &Subject{Size: 1, Fingerprint: &fingerprint.Fingerprint{}, Findings: []api.Finding{}}
	none := &Judge{Matcher: index.New()}
	for _, r := range []fingerprint.Relation{fingerprint.Identical, fingerprint.Repackaged, fingerprint.Cast, fingerprint.Quantised,
		fingerprint.Derived, fingerprint.Merged, fingerprint.Partial, fingerprint.Reparameterised, fingerprint.PublicBase} {
		m := fingerprint.Match{Model: "m", Version: "1", Kind: api.KindProtected}
		m.Relation, m.LogP, m.Coverage.Parameters = r, -5000, 0.5
		m.Evidence = []fingerprint.Evidence{{Kind: "k", Text: "t", Value: math.NaN(), LogP: math.Inf(-1)}}
		v := s.verdict([]fingerprint.Match{m}, none.Matcher)
		if v.Sentence == "" || string(v.Verdict) != string(r) || v.PValue == nil || *v.PValue <= 0 || v.Evidence[0].Value != 0 {
			t.Errorf("%s: %+v", r, v)
		}
	}
	for share, want := range map[float64]string{0: "0 %", 0.0001: "under 0.1 %", 0.5: "50 %", 0.621: "62.1 %", 0.9999: "almost all", 1: "100 %"} {
		if got := percent(share); got != want {
			t.Errorf("percent(%v) = %q, want %q", share, got, want)
		}
	}
}

// A public model never hides a protected one that is there bit for bit.
func TestPick(t *testing.T) {
	match := func(kind string, r fingerprint.Relation) fingerprint.Match {
		m := fingerprint.Match{Kind: kind}
		m.Relation = r
		return m
	}
	public := match(api.KindPublic, fingerprint.Identical)
	cases := []struct {
		name    string
		matches []fingerprint.Match
		want    int
	}{
		{"none", nil, -1},
		{"nothing", []fingerprint.Match{match(api.KindProtected, fingerprint.NoMatch)}, -1},
		{"public alone", []fingerprint.Match{public}, 0},
		{"an archive of both", []fingerprint.Match{public, match(api.KindProtected, fingerprint.Identical)}, 1},
		{"the base of a protected child", []fingerprint.Match{public, match(api.KindProtected, fingerprint.Derived)}, 0},
		{"the child itself", []fingerprint.Match{match(api.KindProtected, fingerprint.Identical), public}, 0},
		{"two protected", []fingerprint.Match{match(api.KindProtected, fingerprint.Derived), match(api.KindProtected, fingerprint.Identical)}, 0},
	}
	for _, c := range cases {
		if got := pick(c.matches); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// What controls were fitted to says nothing beyond what controls can say.
func TestProbability(t *testing.T) {
	for _, c := range []struct {
		logP  float64
		bound string
		want  float64
	}{{-5000, "digest", 1e-300}, {-5000, "control-calibrated", 1e-9}, {math.Log(1e-4), "control-calibrated", 1e-4}, {math.Log(1e-40), "exchangeable-poisson", 1e-40}} {
		if p := Probability(c.logP, c.bound); p == nil || math.Abs(*p-c.want) > 1e-6*c.want {
			t.Errorf("%g, %s: %v, want %g", c.logP, c.bound, p, c.want)
		}
	}
	for _, none := range []float64{0, 1, math.NaN()} {
		if p := Probability(none, "digest"); p != nil {
			t.Errorf("%g: %g", none, *p)
		}
	}
}

// numbers are the weights of a model file and nothing else, as bf16.
func numbers(t *testing.T, name string) []byte {
	t.Helper()
	m, err := all.Decoders().Decode(context.Background(), read(t, name), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for _, v := range quant.Views(m) {
		r, err := v.Reader()
		if err != nil {
			t.Fatal(err)
		}
		rows := make([]float32, v.Rows*v.Cols)
		if err := r.ReadRows(rows, 0, v.Rows); err != nil {
			t.Fatal(err)
		}
		for _, x := range rows {
			out = binary.LittleEndian.AppendUint16(out, uint16((math.Float32bits(x)+0x8000)>>16))
		}
	}
	return out
}

// Weights without a header are found as they lie, packed, and behind a model that is
// there to be looked at; a stranger's are not.
func TestNumbersOnly(t *testing.T) {
	j := registered(t, api.KindProtected)
	for file, hit := range map[string]bool{"aurora-tuned.safetensors": true, "borealis.safetensors": false} {
		bits := numbers(t, file)
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		if _, err := w.Write(bits); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{"plain": bits, "gzip": packed.Bytes(), "behind a model": append(read(t, "conv-1.safetensors"), bits...)} {
			v := judged(t, j, formats.BytesSource(b), false)
			if v.Verdict.IsHit() != hit || hit && (v.Verdict != api.Derived && v.Verdict != api.Cast || v.Model != "aurora" || v.Coverage.Parameters < .9) {
				t.Errorf("%s, %s: %s %s, %.2f of the parameters: %s", file, name, v.Verdict, v.Model, v.Coverage.Parameters, v.Sentence)
			}
		}
	}
}
