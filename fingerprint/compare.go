package fingerprint

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"regexp"
	"slices"
)

// Thresholds of the decision; docs/fingerprint-spec.md derives them.
const (
	maxLogP        = -27.7   // ln 1e-12: weaker evidence is none
	minEvidence    = 1 << 10 // bytes of a chunk from which it is evidence
	minExactBytes  = 64 << 10
	wholeShare     = 0.9 // of the parameters, from which it is not PARTIAL
	shared         = 2   // a match carried by so few of many tensors, or kinds of them, is a shared part
	sharedCoverage = 0.1
	suspectShare   = 0.5
	logChunk       = -88.7 // ln 2^-128
)

// Compare says what suspect has of registered. It looks at the two fingerprints
// only; models that others are made of are the index's business.
func Compare(registered, suspect *Fingerprint) *Comparison {
	if registered.Scheme != suspect.Scheme || registered.KeyID != suspect.KeyID {
		return &Comparison{Relation: Inconclusive, Evidence: []Evidence{{Kind: "scheme",
			Text: fmt.Sprintf("the fingerprints were made with different schemes or keys (%d/%s and %d/%s) and cannot be compared",
				registered.Scheme, registered.KeyID, suspect.Scheme, suspect.KeyID)}}}
	}
	c := newComparer(registered, suspect)
	c.exact()
	c.sketches()
	c.permuted()
	return c.negated(c.decide())
}

// CompareInPlace is Compare without the search for permuted rows, which costs most:
// for the many candidates that a large registry has, once their largest rows are
// known to have nothing in common with the suspect's.
func CompareInPlace(registered, suspect *Fingerprint) *Comparison {
	if registered.Scheme != suspect.Scheme || registered.KeyID != suspect.KeyID {
		return Compare(registered, suspect)
	}
	c := newComparer(registered, suspect)
	c.exact()
	c.sketches()
	return c.negated(c.decide())
}

// comparer is the state of one Compare.
type comparer struct {
	reg, sus  *Fingerprint
	partners  *partners
	segmented []int   // suspect tensors with rows that were read for a registered one
	found     []found // per registered tensor
	// Exact layer.
	chunks, evidenceChunks int
	evidenceBytes          int64
	susExact               int64 // suspect bytes in matched chunks
	susTensorBytes         int64
	sameFiles, files       int
	// Sketch layer.
	rowLogP   float64
	rowHits   int
	rowTested int
	rowCount  int // tensors that carry the row evidence
	permLogP  float64
	permHits  int
}

// found is what was found of one registered tensor.
type found struct {
	exact     int64 // bytes in matched chunks
	total     int64 // bytes
	ragged    bool  // some of its chunks matched, others did not
	suspect   int   // best tensor of the suspect, -1 for none
	others    []int // that hold other rows of it
	share     float64
	relation  Relation
	transform string
	cosine    float64
	hits      int
	tested    int
	aligned   bool
}

func newComparer(reg, sus *Fingerprint) *comparer {
	c := &comparer{reg: reg, sus: sus, partners: newPartners(sus), found: make([]found, len(reg.Tensors))}
	for i := range c.found {
		c.found[i].suspect = -1
		for _, p := range reg.Tensors[i].Pieces {
			c.found[i].total += reg.Pieces[p].Length
		}
	}
	for i := range sus.Tensors {
		if k := sus.Tensors[i].Sketch; k != nil && len(k.Segments) > 0 {
			c.segmented = append(c.segmented, i)
		}
		for _, p := range sus.Tensors[i].Pieces {
			c.susTensorBytes += sus.Pieces[p].Length
		}
	}
	return c
}

// mostCopies bounds how often one chunk of the suspect is matched with every one like it: experts that begun as copies
// would cost the square of their number.
const mostCopies = 16

// chunkRef is the place of a registered chunk.
type chunkRef struct{ piece, chunk int32 }

// exact matches chunks, tensor contents only: headers hold tokenizers and
// configurations that unrelated models share.
func (c *comparer) exact() {
	owners, suspects := tensorsOf(c.reg), newKeyFilter(c.sus)
	refs := make(map[ChunkKey][]chunkRef)
	for p, tensors := range owners {
		if len(tensors) == 0 {
			continue
		}
		for k, ch := range c.reg.Pieces[p].Chunks {
			if suspects.may(ch.Key) {
				refs[ch.Key] = append(refs[ch.Key], chunkRef{int32(p), int32(k)})
			}
		}
	}
	susOwners := tensorsOf(c.sus)
	matched := make([]map[int32]bool, len(c.reg.Pieces))
	votes := make(map[[2]int]int64) // (registered piece, suspect tensor) -> bytes
	often := make(map[ChunkKey]int) // of chunks that both have many times over, the first suspect ones stand for all
	for p := range c.sus.Pieces {
		for _, ch := range c.sus.Pieces[p].Chunks {
			of := refs[ch.Key]
			if len(of) > mostCopies {
				if often[ch.Key]++; often[ch.Key] > mostCopies {
					of = nil
				}
			}
			for _, r := range of {
				if matched[r.piece] == nil {
					matched[r.piece] = make(map[int32]bool)
				}
				matched[r.piece][r.chunk] = true
				if len(susOwners[p]) > 0 {
					votes[[2]int{int(r.piece), susOwners[p][0]}] += ch.Length()
				}
			}
			if len(refs[ch.Key]) > 0 && !ch.Plain() {
				c.susExact += ch.Length()
			}
		}
	}
	seen := make(map[ChunkKey]bool)
	for p, chunks := range matched {
		c.creditPiece(p, owners[p], chunks, seen)
	}
	c.bestSuspects(owners, votes)
	c.sameWholeFiles()
}

// keyFilter says which chunk keys a fingerprint cannot have: of a candidate that has
// nothing in common with the suspect no key then goes into a map.
type keyFilter []uint64

func newKeyFilter(f *Fingerprint) keyFilter {
	n := 0
	for p := range f.Pieces {
		n += len(f.Pieces[p].Chunks)
	}
	filter := make(keyFilter, 1<<bits.Len(uint(n/2))) // 32 bits a key and more: one in 32 others passes
	for p := range f.Pieces {
		for _, ch := range f.Pieces[p].Chunks {
			if word, bit := filter.place(ch.Key); ch.Key != (ChunkKey{}) {
				filter[word] |= bit
			}
		}
	}
	return filter
}

// place is where a key, which is random, has its bit.
func (f keyFilter) place(k ChunkKey) (word int, bit uint64) {
	x := binary.LittleEndian.Uint64(k[:])
	return int(x>>6) & (len(f) - 1), 1 << (x & 63)
}

// may reports whether the fingerprint may have a key.
func (f keyFilter) may(k ChunkKey) bool {
	word, bit := f.place(k)
	return f[word]&bit != 0 && k != (ChunkKey{})
}

// tensorsOf lists, for every piece, the tensors whose contents it is.
func tensorsOf(f *Fingerprint) [][]int {
	out := make([][]int, len(f.Pieces))
	for t := range f.Tensors {
		for _, p := range f.Tensors[t].Pieces {
			out[p] = append(out[p], t)
		}
	}
	return out
}

// creditPiece books the matched chunks of a registered piece. A chunk that many pieces have is
// evidence once: libraries put one table beside every matrix.
func (c *comparer) creditPiece(p int, tensors []int, chunks map[int32]bool, seen map[ChunkKey]bool) {
	if len(chunks) == 0 {
		return
	}
	piece := &c.reg.Pieces[p]
	constant := true
	for _, t := range tensors {
		constant = constant && c.reg.Tensors[t].Constant != ""
	}
	var bytes int64
	for k := range chunks {
		ch := &piece.Chunks[k]
		bytes += ch.Length()
		c.chunks++
		if !constant && !ch.Plain() && ch.Length() >= minEvidence && !seen[ch.Key] {
			seen[ch.Key] = true
			c.evidenceChunks++
			c.evidenceBytes += ch.Length()
		}
	}
	for _, t := range tensors {
		c.found[t].exact += bytes
		c.found[t].ragged = c.found[t].ragged || len(chunks) < len(piece.Chunks)
	}
}

// bestSuspects names, for every registered tensor found exactly, the tensor of
// the suspect that most of it lies in.
func (c *comparer) bestSuspects(owners [][]int, votes map[[2]int]int64) {
	best := make([]int64, len(c.found))
	for key, n := range votes {
		for _, t := range owners[key[0]] {
			if n > best[t] || n == best[t] && key[1] < c.found[t].suspect {
				best[t], c.found[t].suspect = n, key[1]
			}
		}
	}
	for t := range c.found {
		f := &c.found[t]
		if f.exact == 0 || f.total == 0 {
			continue
		}
		f.share = min(1, float64(f.exact)/float64(f.total))
		f.relation, f.cosine = Repackaged, 1
		if f.share < 1 {
			f.relation = Partial
		}
	}
}

func (c *comparer) sameWholeFiles() {
	have := make(map[Digest]bool)
	for _, f := range c.sus.Files {
		if !f.Digest.IsZero() {
			have[f.Digest] = true
		}
	}
	for _, f := range c.reg.Files {
		if f.Size == 0 {
			continue
		}
		c.files++
		if have[f.Digest] {
			c.sameFiles++
		}
	}
}

// coverage sums up what was found of the registered model.
func (c *comparer) coverage() Coverage {
	var cov Coverage
	var bytes, params, total, totalParams float64
	n := 0
	for t := range c.found {
		f, rt := &c.found[t], &c.reg.Tensors[t]
		total += float64(f.total)
		totalParams += float64(rt.Parameters)
		bytes += f.share * float64(f.total)
		params += f.share * float64(rt.Parameters)
		if f.share >= 0.5 {
			n++
		}
	}
	if total > 0 {
		cov.Bytes = bytes / total
	}
	if totalParams > 0 {
		cov.Parameters = params / totalParams
	}
	if len(c.found) > 0 {
		cov.Tensors = float64(n) / float64(len(c.found))
	}
	return cov
}

// decide turns what was found into one relation with its evidence.
func (c *comparer) decide() *Comparison {
	out := &Comparison{Relation: NoMatch, Coverage: c.coverage()}
	exact := c.evidenceChunks > 0 && (c.evidenceBytes >= minExactBytes || out.Coverage.Bytes >= 0.5)
	rows := c.rowLogP <= maxLogP
	perm := c.permLogP <= maxLogP
	whole := c.wholeFiles() || c.wholeContent() // however small
	c.explain(out)
	switch {
	case exact || whole:
		out.LogP, out.Bound = max(float64(c.evidenceChunks), 1)*logChunk, "digest"
		if rows {
			out.LogP = min(out.LogP, c.rowLogP)
		}
	case rows:
		out.LogP, out.Bound = c.rowLogP, "exchangeable-poisson"
	case perm:
		out.LogP, out.Bound = c.permLogP, "control-calibrated"
	default:
		out.Coverage = Coverage{}
		return out
	}
	out.Tensors = c.tensorMatches()
	if text, shared := c.sharedPart(out); shared && !whole {
		out.Evidence = append(out.Evidence, Evidence{Kind: "shared_part", Text: text, Value: out.Coverage.Parameters, Unit: "share of parameters"})
		out.Relation, out.LogP, out.Coverage = NoMatch, 0, Coverage{}
		return out
	}
	out.Relation = c.relation(out.Coverage)
	if !exact && !rows && !whole {
		out.Relation = Reparameterised // no exact bound: for review, however much was found
	}
	if text, begun := c.begunAlike(); begun && out.Relation != Identical {
		out.Evidence = append(out.Evidence, Evidence{Kind: Uneven, Text: text})
		out.Relation = Reparameterised
	} else if text, uneven := c.uneven(); uneven && !exact && (out.Relation == Derived || out.Relation == Partial) {
		out.Evidence = append(out.Evidence, Evidence{Kind: Uneven, Text: text})
		out.Relation = Reparameterised
	}
	return out
}

// wholeFiles reports whether every registered file is there, byte for byte.
func (c *comparer) wholeFiles() bool { return c.files > 0 && c.sameFiles == c.files }

// wholeContent reports whether the two have the same tensors, bit for bit, some of which hold numbers
// of their own.
func (c *comparer) wholeContent() bool {
	if a := c.reg.Content(); a.IsZero() || a != c.sus.Content() {
		return false
	}
	return slices.ContainsFunc(c.reg.Tensors, func(t Tensor) bool {
		return t.Constant == "" && slices.ContainsFunc(t.Pieces, func(p int) bool { return !c.reg.Pieces[p].Plain })
	})
}

// sharedPart reports whether the match is a part that two otherwise different
// models have in common: one or two whole tensors of many, or one or two kinds of them,
// such as a table that every layer has, in a suspect that is mostly something else.
func (c *comparer) sharedPart(out *Comparison) (string, bool) {
	n, total, ragged := 0, 0, false
	kinds, all := make(map[string]bool), make(map[string]bool)
	for t := range c.found {
		if !c.counts(t) {
			continue
		}
		total++
		kind := digits.ReplaceAllString(c.reg.Tensors[t].Name, "#") // tensors at one place of all layers are one kind
		all[kind] = true
		if c.found[t].share > 0 {
			kinds[kind] = true
			n++
			ragged = ragged || c.found[t].ragged || c.found[t].share < 1
		}
	}
	few := n <= shared && total >= 4*max(n, 1) || len(kinds) <= shared && len(all) >= 4*len(kinds)
	if !few || out.Coverage.Parameters >= sharedCoverage || ragged || !c.mostlyElse() {
		return "", false
	}
	return fmt.Sprintf("%d of %d tensors (%.2g of the parameters) are the same: a shared part, not a copied model",
		n, total, out.Coverage.Parameters), true
}

// counts reports whether a registered tensor is a part of its own.
func (c *comparer) counts(t int) bool {
	return c.reg.Tensors[t].Constant == "" && c.reg.Tensors[t].Parameters >= MinParameters
}

// mostlyElse reports whether the suspect has parameters, less than half of them in tensors that match.
func (c *comparer) mostlyElse() bool {
	var total, matched int64
	taken := c.takenSuspects()
	for s := range c.sus.Tensors {
		if len(c.sus.Tensors[s].Pieces) == 0 {
			continue // behind the end of a truncated file
		}
		total += c.sus.Tensors[s].Parameters
		if taken[s] {
			matched += c.sus.Tensors[s].Parameters
		}
	}
	return total > 0 && float64(matched) < suspectShare*float64(total)
}

// Uneven is the kind of evidence that says that a match may be due to a common random start.
const Uneven = "uneven"

// Kin is the kind of evidence that says that a match may be due to a common base and common data.
const Kin = "kin"

// uneven reports whether the tensors agree so differently as they do in models that were
// trained apart from one random start, and in copies that were trained very far: no rows
// can tell these apart. Measured on testdata: quartiles of .38 and .70 there, under .03
// apart after fine-tuning, noise, pruning and merging.
func (c *comparer) uneven() (string, bool) {
	const apart, low, same, least = .15, .75, .98, 3
	var cosines []float64
	near := 0
	for t := range c.found {
		f := &c.found[t]
		if !f.aligned || f.share == 0 || c.reg.Tensors[t].Constant != "" {
			continue
		}
		cosines = append(cosines, f.cosine)
		if f.cosine >= same {
			near++
		}
	}
	if len(cosines) < least || near*10 > len(cosines) {
		return "", false
	}
	slices.Sort(cosines)
	q1, q3 := cosines[len(cosines)/4], cosines[3*len(cosines)/4]
	if q1 > low || q3-q1 < apart {
		return "", false
	}
	return fmt.Sprintf("the tensors agree to very different degrees (cosines from %.2f to %.2f): so do models that were trained apart from one random start, and copies trained very far. "+
		"Register the start, the checkpoint of step 0, as a public model to tell them apart", cosines[0], cosines[len(cosines)-1]), true
}

// firstHalves are adapters' tensors that training hardly moves, or not at all: they are drawn from a
// seed, which is often the library's default, and do nothing without their other half.
var firstHalves = regexp.MustCompile(`(?i)(^|[._])(lora_(a|down|embedding_a)|vera_[ab]|hada_w[12]_a)([._]|$)`)

// begunAlike reports whether all that was found are the halves of adapters that a seed makes.
func (c *comparer) begunAlike() (string, bool) {
	n := 0
	for t := range c.found {
		if c.found[t].share == 0 || c.reg.Tensors[t].Constant != "" {
			continue
		}
		if !firstHalves.MatchString(c.reg.Tensors[t].Name) {
			return "", false
		}
		n++
	}
	return fmt.Sprintf("all %d tensors found are the halves of adapters that are drawn from a seed and hardly trained; nothing of the other halves is here: "+
		"so do adapters that were trained apart by one program", n), n > 0
}

// MinParameters is the size below which a tensor does not count as a part of
// its own: norms, biases, counters.
const MinParameters = 1024

// relation picks the word: what explains most of the matched parameters.
func (c *comparer) relation(cov Coverage) Relation {
	if c.wholeFiles() {
		return Identical
	}
	weight := make(map[Relation]float64)
	sum, turned := 0.0, 0.0
	for t := range c.found {
		f := &c.found[t]
		if c.reg.Tensors[t].Constant != "" || f.share == 0 {
			continue
		}
		r := f.relation
		if r == Partial {
			r = Repackaged
		}
		w := f.share * float64(c.reg.Tensors[t].Parameters)
		weight[r] += w
		sum += w
		if r == Reparameterised || f.transform == "transposed" {
			turned += w
		}
	}
	if cov.Parameters < wholeShare {
		return Partial
	}
	if turned > sum/2 {
		return Reparameterised
	}
	return mostly(weight, sum)
}

// mostly picks the relation of most parameters, with an ear for the few that say more.
func mostly(weight map[Relation]float64, sum float64) Relation {
	best := Repackaged
	for _, r := range []Relation{Repackaged, Cast, Quantised, Derived} {
		if weight[r] > weight[best] {
			best = r
		}
	}
	// A merged adapter or a retrained head touches few tensors, yet the copy is
	// no longer the same model. Among quantised tensors a few lie beyond the noise
	// that their format usually has.
	least := 0.02
	if best == Quantised {
		least = 0.2
	}
	if weight[Derived] > least*sum {
		return Derived
	}
	if best == Repackaged && weight[Repackaged] < 0.98*sum {
		for _, r := range []Relation{Quantised, Cast} {
			if weight[r] > 0.02*sum {
				return r
			}
		}
	}
	return best
}

// explain lists the evidence in the order a person wants it.
func (c *comparer) explain(out *Comparison) {
	add := func(e Evidence) { out.Evidence = append(out.Evidence, e) }
	if c.sameFiles > 0 {
		add(Evidence{Kind: "file_digest", Text: fmt.Sprintf("%d of %d files are the same byte for byte", c.sameFiles, c.files),
			Value: float64(c.sameFiles), Unit: "files", LogP: logChunk, Bound: "digest"})
	}
	if a := c.reg.Content(); !a.IsZero() && a == c.sus.Content() {
		add(Evidence{Kind: "content_digest", Text: "the digests of all tensors together are the same: every weight, bit for bit",
			Value: 1, LogP: logChunk, Bound: "digest"})
	}
	if c.evidenceChunks > 0 {
		add(Evidence{Kind: "chunks", Text: fmt.Sprintf("%d content-defined chunks (%d bytes) of the registered weights were found bit for bit", c.evidenceChunks, c.evidenceBytes),
			Value: float64(c.evidenceBytes), Unit: "bytes", LogP: float64(c.evidenceChunks) * logChunk, Bound: "digest"})
	}
	if c.rowHits > 0 && c.rowLogP <= maxLogP {
		add(Evidence{Kind: "aligned_rows", Text: fmt.Sprintf("%d of %d sampled rows of %d tensors have their nearest registered row at the same place; independent models reach this with a probability under 10^%.0f",
			c.rowHits, c.rowTested, c.rowCount, c.rowLogP/math.Ln10), Value: float64(c.rowHits), Unit: "rows", LogP: c.rowLogP, Bound: "exchangeable-poisson"})
	}
	if c.permHits > 0 && c.permLogP <= maxLogP {
		add(Evidence{Kind: "content_rows", Text: fmt.Sprintf("%d of the largest rows were found again at other places: rows were permuted", c.permHits),
			Value: float64(c.permHits), Unit: "rows", LogP: c.permLogP, Bound: "control-calibrated"})
	}
	if n := c.constants(); n > 0 {
		add(Evidence{Kind: "constants", Text: fmt.Sprintf("%d tensors are constants that a formula makes; they are no evidence", n), Value: float64(n), Unit: "tensors"})
	}
}

func (c *comparer) constants() (n int) {
	for t := range c.found {
		if c.found[t].share > 0 && c.reg.Tensors[t].Constant == "formula" {
			n++
		}
	}
	return n
}

func (c *comparer) tensorMatches() []TensorMatch {
	var out []TensorMatch
	for t := range c.found {
		f := &c.found[t]
		if f.share == 0 {
			continue
		}
		out = append(out, TensorMatch{Suspect: f.suspect, Registered: t, Relation: f.relation, Transform: f.transform,
			Cosine: f.cosine, Hits: f.hits, Tested: f.tested, Exact: f.exact,
			Parameters: int64(math.Round(f.share * float64(c.reg.Tensors[t].Parameters)))})
	}
	slices.SortFunc(out, func(a, b TensorMatch) int { return a.Registered - b.Registered })
	return out
}
