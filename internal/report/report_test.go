package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"weightwarden/internal/api"
)

func pointer(v float64) *float64 { return &v }

// model is a registered model of n layers.
func model(layers int) []Tensor {
	out := []Tensor{{Name: "tok_embeddings.weight", Parameters: 1000}}
	for l := range layers {
		for _, r := range []string{"attention.wq.weight", "mlp.w1.weight"} {
			out = append(out, Tensor{Name: fmt.Sprintf("layers.%d.%s", l, r), DType: "BF16", Shape: []int64{10, 10}, Parameters: 100})
		}
	}
	return out
}

func document(registered []Tensor, v *api.Verdict) *Document {
	return &Document{Made: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Program: "fpcheck test",
		Registry: Registry{Name: "R.fpdb", BLAKE3: "00", Artifacts: 1, Scheme: 1, KeyID: "ab"},
		Items:    []Item{{Verdict: v, Registered: registered, Commands: []string{"fpcheck verify " + v.Path}}}}
}

func hit() *api.Verdict {
	return &api.Verdict{Path: "stolen.bin", Verdict: api.Quantised, Model: "aurora", ModelVersion: "3", Kind: "protected",
		Sentence: "The weights are those of aurora.", PValue: pointer(1e-40), Coverage: api.Coverage{Parameters: 0.5, Tensors: 0.4},
		Evidence: []api.Evidence{{Kind: "aligned_rows", Text: "rows match", Bound: "exchangeable-poisson"},
			{Kind: "merge", Text: "least squares", Value: 0.6, Model: "borealis@1"}},
		Findings: []api.Finding{{Code: "a.b", Severity: "info", Text: "minor", Offset: -1}, {Code: "c.d", Severity: "danger", Text: "grave", Offset: 7}},
		Tensors: []api.TensorMatch{{Suspect: "blk.0.attn_q", Registered: "layers.0.attention.wq.weight", Relation: "quantised", Cosine: 0.97, Parameters: 100},
			{Suspect: "blk.1.attn_q", Registered: "layers.1.attention.wq.weight", Relation: "quantised", Cosine: 0.5, Parameters: 40}}}
}

func written(t *testing.T, d *Document) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPage(t *testing.T) {
	got := written(t, document(model(3), hit()))
	for _, want := range []string{
		"QUANTISED", "The weights are those of aurora.", "less than once in 10^40", "exact upper bound (Poisson)",
		"borealis@1", "60.0 %", "50.0 %", "grave", "2 January 2026, 03:04 UTC", "fpcheck verify stolen.bin",
		"layers.0.attention.wq.weight ← blk.0.attn_q: quantised, 100 % found, cosine 0.9700",
		"layers.2.mlp.w1.weight: not found",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Index(got, "grave") > strings.Index(got, "minor") {
		t.Error("a grave finding stands behind a minor one")
	}
}

// Nothing is loaded, nothing runs, and names out of files stay text.
func TestPageIsInert(t *testing.T) {
	v := hit()
	v.Path = "x\"><script>alert(1)</script>\u202egpj.exe\x1b[2J"
	v.Findings[0].Text = "<img src=http://evil.example/x onerror=alert(1)>"
	v.Tensors[0].Registered = "layers.0.<svg onload=alert(1)>"
	registered := append(model(2), Tensor{Name: "layers.0.<svg onload=alert(1)>", Parameters: 5}, Tensor{Name: "</text><script>alert(2)</script>", Parameters: 5})
	got := written(t, document(registered, v))
	for _, bad := range []string{"<script", "<img", "<svg onload", "\u202e", "\x1b", "<link", "@import", "url(http"} {
		if strings.Contains(got, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(got, -1) {
		if !strings.HasPrefix(m[1], "#") {
			t.Errorf("the page refers to %q", m[1])
		}
	}
	wellFormedSVG(t, got)
}

func wellFormedSVG(t *testing.T, page string) {
	t.Helper()
	from, to := strings.Index(page, "<svg class=\"heat\""), strings.LastIndex(page, "</svg>")
	if from < 0 || to < from {
		t.Fatal("no heat map")
	}
	dec := xml.NewDecoder(strings.NewReader(page[from : to+6]))
	for {
		_, err := dec.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("the heat map is not well-formed: %v", err)
		}
	}
}

func TestRole(t *testing.T) {
	cases := []struct {
		name, role string
		layer      int
		ok         bool
	}{
		{"model.layers.12.mlp.up_proj.weight", "model.layers.*.mlp.up_proj.weight", 12, true},
		{"blk.0.attn_q.weight", "blk.*.attn_q.weight", 0, true},
		{"layers.3.experts.17.w1", "layers.*.experts.*.w1", 3, true},
		{"a.1.2.3", "a.*.*.*", 1, true},
		{"archive.tar!h.5.attn", "h.*.attn", 5, true},
		{"conv1.weight", "conv1.weight", 0, false},
		{"tok_embeddings.weight", "tok_embeddings.weight", 0, false},
		{"x.99999999999999999999.y", "x.99999999999999999999.y", 0, false},
		{"", "", 0, false},
	}
	for _, c := range cases {
		if r, l, ok := role(c.name); r != c.role || l != c.layer || ok != c.ok {
			t.Errorf("role(%q) = %q, %d, %v", c.name, r, l, ok)
		}
	}
}

func TestGrid(t *testing.T) {
	g := newGrid(model(50), hit().Tensors)
	if len(g.layers) != 50 || len(g.roles) != 2 || len(g.single) != 1 {
		t.Fatalf("%d layers, %d roles, %d single", len(g.layers), len(g.roles), len(g.single))
	}
	if c := g.cells[place{"layers.*.attention.wq.weight", 1}]; c.share() != 0.4 || math.Abs(c.cosine()-0.5) > 1e-9 {
		t.Errorf("share %v, cosine %v", c.share(), c.cosine())
	}
	if c := g.cells[place{"layers.*.mlp.w1.weight", 7}]; c.share() != 0 {
		t.Errorf("found what is not there: %v", c.share())
	}
	wellFormedSVG(t, written(t, document(model(50), hit())))
	// What is too small to compare is not called missing.
	small := newGrid([]Tensor{{Name: "norm.weight", Parameters: 10, ExactOnly: true}}, nil)
	if got := small.single[0].text(); !strings.Contains(got, "too small") {
		t.Errorf("a small tensor: %q", got)
	}
	// Experts of one layer share a cell.
	experts := []Tensor{{Name: "l.0.experts.0.w", Parameters: 10}, {Name: "l.0.experts.1.w", Parameters: 30}}
	g = newGrid(experts, []api.TensorMatch{{Registered: "l.0.experts.1.w", Suspect: "s", Cosine: 1, Parameters: 30}})
	if c := g.cells[place{"l.*.experts.*.w", 0}]; c == nil || c.share() != 0.75 || c.tensors != 2 {
		t.Errorf("experts: %+v", c)
	}
}

func TestOdds(t *testing.T) {
	cases := map[float64]string{1e-9: "10^9 (a billion)", 1e-13: "10^13 (ten times a trillion)", 1e-40: "grains of sand", 0.02: "at most 2 of 100", 1e-300: "below one in 10^290"}
	for p, want := range cases {
		if got := odds(&p); !strings.Contains(got, want) {
			t.Errorf("odds(%v) = %q, want %q in it", p, got, want)
		}
	}
	if odds(nil) != "" {
		t.Error("odds of nothing")
	}
}

// Every verdict has its meaning and its colour.
func TestEveryVerdict(t *testing.T) {
	for _, w := range []api.Word{api.Identical, api.Repackaged, api.Partial, api.Cast, api.Quantised, api.Derived, api.Merged,
		api.Reparameterised, api.PublicBase, api.NoMatch, api.Inconclusive} {
		v := &api.Verdict{Path: "f", Verdict: w, Sentence: "s"}
		if got := written(t, document(nil, v)); !strings.Contains(got, string(w)) || meaning(w) == "" {
			t.Errorf("%s is not explained", w)
		}
	}
	if tone(api.Identical) != "hit" || tone(api.Inconclusive) != "review" || tone(api.NoMatch) != "clear" || tone(api.PublicBase) != "clear" {
		t.Error("colours")
	}
}

// A run over a folder that found nothing says so, and what it passed by.
func TestNothingFound(t *testing.T) {
	d := document(nil, hit())
	d.Items, d.PassedBy = nil, "3 further files were judged and are clear."
	got := written(t, d)
	if !strings.Contains(got, "No registered weights were found") || !strings.Contains(got, "3 further files") {
		t.Error(got)
	}
}
