package main

import (
	"context"
	"flag"
	"fmt"
	"slices"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/index"
	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/internal/judge"
)

// compared is what fpcheck compare --json prints.
type compared struct {
	SchemaVersion int               `json:"schema_version"`
	A             side              `json:"a"` // taken as the original
	B             side              `json:"b"` // looked at for what it has of a
	Verdict       api.Word          `json:"verdict"`
	Sentence      string            `json:"sentence"`
	Confidence    float64           `json:"confidence"`
	PValue        *float64          `json:"p_value,omitempty"`
	Bound         string            `json:"bound,omitempty"`
	Coverage      api.Coverage      `json:"coverage"`
	Evidence      []api.Evidence    `json:"evidence"`
	Tensors       []api.TensorMatch `json:"tensors"`
	OnlyA         []string          `json:"only_a"` // tensors of a that were not found in b
	OnlyB         []string          `json:"only_b"` // tensors of b that nothing of a was found in
	Deep          *deepResult       `json:"deep,omitempty"`
}

// side is one of the two files.
type side struct {
	Path       string `json:"path"`
	Size       int64  `json:"size"`
	Format     string `json:"format"`
	Tensors    int    `json:"tensors"`
	Parameters int64  `json:"parameters"`
	Unread     int64  `json:"unread_bytes"`
	Content    string `json:"content,omitempty"`
}

func compareCommand() cli.Command {
	return cli.Command{
		Name:    "compare",
		Args:    "A B",
		Summary: "what has file B of file A? No registry is needed",
		Help: `A is taken as the original, B as the suspect. A folder stands for the model whose files it
holds. Either may be a fingerprint that 'fpcheck
fingerprint -o' wrote, but for --deep, which needs both files: it recovers how the inner
coordinates were permuted or rotated, undoes that, and then proves the copy by a test with an
exact bound.

exit codes: 0 nothing in common, 1 B has weights of A, 2 error or could not be judged`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			c := &comparer{}
			c.compute(fs)
			fs.BoolVar(&c.deep, "deep", false, "undo a permutation or rotation of the weights, and prove the copy")
			fs.BoolVar(&c.all, "all", false, "show every tensor, not only the first 500")
			fs.StringVar(&c.page, "report", "", "write a page to `OUT.html` that shows the comparison and its proof")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) != 2 {
					return cli.Usagef("exactly two files are wanted")
				}
				return c.run(ctx, env, args[0], args[1])
			}
		},
	}
}

// comparer is one run of fpcheck compare.
type comparer struct {
	common
	deep, all bool
	page      string
}

func (c *comparer) run(ctx context.Context, env *cli.Env, pathA, pathB string) error {
	a, err := c.load(ctx, env, pathA)
	if err != nil {
		return err
	}
	defer a.close()
	b, err := c.load(ctx, env, pathB)
	if err != nil {
		return err
	}
	defer b.close()
	out, err := c.compare(ctx, a, b)
	if err != nil {
		return err
	}
	switch {
	case out.Verdict.IsHit():
		env.Exit = cli.ExitMatch
	case out.Verdict == api.Inconclusive:
		env.Exit = cli.ExitError
	}
	if c.page != "" {
		if err := out.page(c.page, a, b); err != nil {
			return err
		}
	}
	if env.JSON {
		return cli.WriteJSON(env.Stdout, out)
	}
	out.print(env, c.all)
	return nil
}

// compare matches b against a registry that holds a and nothing else, so that
// compare and verify never differ.
func (c *comparer) compare(ctx context.Context, a, b *loaded) (*compared, error) {
	if a.print.KeyID != b.print.KeyID || a.print.Scheme != b.print.Scheme {
		return nil, fmt.Errorf("the two fingerprints were made with different keys or schemes (%d/%s, %d/%s) and cannot be compared",
			a.print.Scheme, a.print.KeyID, b.print.Scheme, b.print.KeyID)
	}
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	db := index.New()
	if err := db.Add(index.Entry{Model: "A", Version: "1", Kind: api.KindProtected, Fingerprint: a.print}); err != nil {
		return nil, err
	}
	sideA, sideB := sideOf(a), sideOf(b) // before tensors are read in other ways
	matches, err := db.MatchFile(ctx, b.print, b.model, fingerprint.Options{Key: key, Jobs: c.jobs, Register: true})
	if err != nil {
		return nil, err
	}
	match := &fingerprint.Comparison{Relation: fingerprint.NoMatch}
	if len(matches) > 0 {
		match = &matches[0].Comparison
	}
	out := comparison(match, a.print, b.print)
	out.A, out.B = sideA, sideB
	if c.deep {
		if err := out.look(ctx, a, b); err != nil {
			return nil, err
		}
	}
	out.Sentence = between(out)
	return out, nil
}

func sideOf(l *loaded) side {
	f := l.print
	s := side{Path: l.path, Size: f.Size, Format: f.Format, Tensors: len(f.Tensors), Parameters: f.Parameters(), Unread: f.UnreadBytes}
	if d := f.Content(); !d.IsZero() {
		s.Content = d.String()
	}
	return s
}

func comparison(c *fingerprint.Comparison, a, b *fingerprint.Fingerprint) *compared {
	out := &compared{SchemaVersion: api.SchemaVersion, Verdict: api.Word(c.Relation), PValue: judge.Probability(c.LogP, c.Bound), Bound: c.Bound,
		Coverage: api.Coverage(c.Coverage), Evidence: judge.Evidence(c.Evidence), OnlyA: []string{}, OnlyB: []string{},
		Tensors: judge.TensorMap(c.Tensors, b.Tensors, a.Tensors)}
	if out.Tensors == nil {
		out.Tensors = []api.TensorMatch{}
	}
	if out.Verdict == api.NoMatch && b.UnreadBytes+a.UnreadBytes > 0 {
		out.Verdict = api.Inconclusive
	}
	if out.Verdict.IsHit() && out.PValue != nil {
		out.Confidence = 1 - *out.PValue
	}
	usedA, usedB := make([]bool, len(a.Tensors)), make([]bool, len(b.Tensors))
	for _, t := range c.Tensors {
		if t.Registered >= 0 && t.Registered < len(usedA) && t.Suspect >= 0 && t.Suspect < len(usedB) {
			usedA[t.Registered], usedB[t.Suspect] = true, true
			for _, s := range b.Tensors[t.Suspect].Of {
				usedB[s] = true
			}
		}
	}
	out.OnlyA, out.OnlyB = unused(a, usedA), unused(b, usedB)
	return out
}

func unused(f *fingerprint.Fingerprint, used []bool) []string {
	out := []string{}
	for i := range f.Tensors {
		if !used[i] && f.Tensors[i].Of == nil {
			out = append(out, f.Tensors[i].Name)
		}
	}
	return out
}

// between is the verdict on two files as a sentence.
func between(c *compared) string {
	found := share(c.Coverage.Parameters)
	switch c.Verdict {
	case api.Identical:
		return "B is A, byte for byte."
	case api.Repackaged:
		return fmt.Sprintf("B has the weights of A unchanged, in another file: %s of A's parameters.", found)
	case api.Partial:
		return fmt.Sprintf("B has a part of A: %s of A's parameters.", found)
	case api.Cast:
		return fmt.Sprintf("B has the weights of A in another number format: %s of A's parameters.", found)
	case api.Quantised:
		return fmt.Sprintf("B has the weights of A, quantised: %s of A's parameters.", found)
	case api.Derived:
		return fmt.Sprintf("B was derived from A, or both from the same model: %s of A's parameters are recognised.", found)
	case api.Merged:
		return "B is a mixture that contains A."
	case api.Reparameterised:
		if c.Deep != nil && c.Deep.Proved {
			if c.Deep.Kind == "none" {
				return "B is A with its neurons or their signs and scales changed: proved."
			}
			return fmt.Sprintf("B is A after a %s of its inner coordinates, undone here: proved.", c.Deep.Kind)
		}
		if slices.ContainsFunc(c.Evidence, func(e api.Evidence) bool { return e.Kind == fingerprint.Uneven }) {
			return "B agrees unevenly with A: both may have begun from one random start, or B was trained very far from A."
		}
		return "B looks like A with rows, columns or scales rearranged; --deep can prove it."
	case api.Inconclusive:
		return "Nothing of A was found in what could be read, but parts could not be read."
	}
	return "B has nothing of A."
}

func (c *compared) print(env *cli.Env, everything bool) {
	w, s := env.Stdout, cli.Style{Colour: cli.ColourFor(env, env.Stdout)}
	for i, x := range []side{c.A, c.B} {
		fmt.Fprintf(w, "%s  %s\n   %s, %s, %s, %s\n", s.Bold(string(rune('A'+i))), cli.PrintableLine(x.Path), cli.PrintableLine(x.Format),
			cli.Bytes(x.Size), cli.Plural(x.Tensors, "tensor", "tensors"), parameters(x.Parameters))
	}
	fmt.Fprintf(w, "\n%s  %s\n", paint(s, c.Verdict), c.Sentence)
	if c.Verdict.IsHit() {
		fmt.Fprintf(w, "coverage  %s  %s of A's parameters, %s of its tensors, %s of its bytes\n",
			cli.Bar(c.Coverage.Parameters, 20), share(c.Coverage.Parameters), share(c.Coverage.Tensors), share(c.Coverage.Bytes))
	}
	for _, e := range c.Evidence {
		fmt.Fprintf(w, "evidence  %s%s\n", cli.PrintableLine(e.Text), s.Dim(chance(e)))
	}
	if len(c.Tensors) > 0 {
		fmt.Fprintln(w)
		c.table(everything).Print(w, s)
		if n := len(c.Tensors) - tensorsShown; n > 0 && !everything {
			fmt.Fprintf(w, "  … and %s more (--all shows them)\n", cli.Count(int64(n)))
		}
	}
	if c.Deep != nil {
		c.Deep.print(env, s)
	}
	left(env, "in A, not found in B", c.OnlyA)
	left(env, "in B, not from A", c.OnlyB)
}

func (c *compared) table(everything bool) *cli.Table {
	t := &cli.Table{Right: []bool{false, false, false, true, true}}
	t.Row("TENSOR OF A", "IS IN B", "RELATION", "COSINE", "PARAMETERS", "HOW")
	for i, x := range c.Tensors {
		if i == tensorsShown && !everything {
			break
		}
		t.Row(x.Registered, x.Suspect, x.Relation, fmt.Sprintf("%.4f", x.Cosine), cli.Count(x.Parameters), x.Transform)
	}
	return t
}

// left lists a few tensors without a counterpart.
func left(env *cli.Env, title string, names []string) {
	const most = 10
	if len(names) == 0 {
		return
	}
	fmt.Fprintf(env.Stdout, "\n%s: %s\n", title, cli.Plural(len(names), "tensor", "tensors"))
	for i, n := range names {
		if i == most {
			fmt.Fprintf(env.Stdout, "  … and %d more\n", len(names)-most)
			return
		}
		fmt.Fprintf(env.Stdout, "  %s\n", cli.PrintableLine(n))
	}
}
