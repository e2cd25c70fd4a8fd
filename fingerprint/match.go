package fingerprint

// Relation says what a suspect is to a registered model. The words are the
// verdicts of docs/fingerprint-spec.md.
type Relation string

// The relations, strongest first.
const (
	Identical       Relation = "IDENTICAL"       // the same bytes, whole
	Repackaged      Relation = "REPACKAGED"      // the same tensors in another container
	Cast            Relation = "CAST"            // the same values in another number format
	Quantised       Relation = "QUANTISED"       // the same values in few bits
	Derived         Relation = "DERIVED"         // trained on, noised, pruned, adapters merged in
	Merged          Relation = "MERGED"          // a mixture of several registered models
	Partial         Relation = "PARTIAL"         // less than 90 % of the parameters, whatever else was done
	Reparameterised Relation = "REPARAMETERISED" // matches after permutation, rotation or rescaling: for review
	PublicBase      Relation = "PUBLIC-BASE"     // matches a public model only
	NoMatch         Relation = "NO-MATCH"
	Inconclusive    Relation = "INCONCLUSIVE" // could not be judged
)

// Comparison is what two fingerprints have in common, seen from a registered
// model.
type Comparison struct {
	Relation Relation
	// LogP is the natural logarithm of an upper bound on the probability that an
	// independent model would match as well as this; 0 means no evidence. It is
	// already multiplied by the alignments tried, not by the models tried.
	LogP     float64
	Bound    string // how LogP was bounded: "digest", "exchangeable-poisson", "control-calibrated"
	Coverage Coverage
	Evidence []Evidence
	Tensors  []TensorMatch
}

// Coverage is the share of the registered model found in the suspect, 0 to 1.
type Coverage struct {
	Bytes, Tensors, Parameters float64
}

// Evidence is one fact that speaks for (or against) a match.
type Evidence struct {
	Kind  string  // "content_digest", "file_digest", "tensor_digests", "chunks", "aligned_rows", "delta", "merge", "constants" ...
	Text  string  // one sentence for people
	Value float64 // the statistic
	Unit  string  // what Value counts
	LogP  float64 // ln of the bound; 0 where the fact has none
	Bound string
	Model string // "name@version" where it is about another model
}

// TensorMatch says which tensor of the suspect is which of the registered model.
type TensorMatch struct {
	Suspect, Registered int      // indices into Fingerprint.Tensors
	Relation            Relation // Repackaged (exact), Cast, Quantised, Derived, Partial, Reparameterised
	Transform           string   // "", "transposed", "rows 0-255", "rows permuted" ...
	Cosine              float64  // estimated
	Hits, Tested        int      // aligned rows: nearest at the same place, of those tested
	Parameters          int64    // of the registered tensor, found
	Exact               int64    // of these, bytes found exactly
}

// Match is a Comparison with the registered model it is about.
type Match struct {
	Model, Version, Kind string // Kind: "protected", "public", "dataset"
	Artifact             string // name of the registered file
	Comparison
}
