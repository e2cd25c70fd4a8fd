package api

// Word is the verdict as one word, for programs. docs/fingerprint-spec.md says
// when each is given.
type Word string

// The verdicts.
const (
	Identical       Word = "IDENTICAL"
	Repackaged      Word = "REPACKAGED"
	Partial         Word = "PARTIAL"
	Cast            Word = "CAST"
	Quantised       Word = "QUANTISED"
	Derived         Word = "DERIVED"
	Merged          Word = "MERGED"
	Reparameterised Word = "REPARAMETERISED" // for review: never blocks by itself
	PublicBase      Word = "PUBLIC-BASE"
	NoMatch         Word = "NO-MATCH"
	Inconclusive    Word = "INCONCLUSIVE"
)

// IsHit reports whether the word names a copy of something registered that is
// not public: exit code 1 of fpcheck, a hit of the agent.
func (w Word) IsHit() bool {
	switch w {
	case Identical, Repackaged, Partial, Cast, Quantised, Derived, Merged, Reparameterised:
		return true
	}
	return false
}

// The kinds of registered models.
const (
	KindProtected = "protected"
	KindPublic    = "public"
	KindDataset   = "dataset"
)

// Verdict is the judgement of one file or of one set of files: the JSON line that
// fpcheck --json prints, and the core of a hit.
type Verdict struct {
	SchemaVersion int           `json:"schema_version"`
	Path          string        `json:"path"`
	Files         []string      `json:"files,omitempty"` // of a set judged together, relative to Path's folder
	Size          int64         `json:"size"`
	Format        string        `json:"format"`
	Verdict       Word          `json:"verdict"`
	Model         string        `json:"model,omitempty"`
	ModelVersion  string        `json:"model_version,omitempty"`
	Artifact      string        `json:"artifact,omitempty"` // the registered file that it matches
	Kind          string        `json:"kind,omitempty"`
	Confidence    float64       `json:"confidence"`        // 1 - bound on the error, for sorting and showing
	PValue        *float64      `json:"p_value,omitempty"` // bound on a false match; absent for NO-MATCH
	Sentence      string        `json:"sentence"`          // the verdict for people, one sentence
	Coverage      Coverage      `json:"coverage"`
	BytesRead     int64         `json:"bytes_read"`
	Seconds       float64       `json:"seconds"`
	Evidence      []Evidence    `json:"evidence"`
	Findings      []Finding     `json:"findings"`
	Digests       *Digests      `json:"digests,omitempty"`
	Registry      string        `json:"registry,omitempty"` // which registry or snapshot epoch judged
	Others        []Other       `json:"others,omitempty"`   // further models matched, best first
	Tensors       []TensorMatch `json:"tensors,omitempty"`  // which tensor became which; cut to the first thousand in hits
}

// Coverage is how much of the registered model was found in the file, 0 to 1 each.
type Coverage struct {
	Bytes      float64 `json:"bytes"`
	Tensors    float64 `json:"tensors"`
	Parameters float64 `json:"parameters"`
}

// Evidence is one reason for a verdict.
type Evidence struct {
	Kind   string   `json:"kind"`           // "content_digest", "tensor_digest", "chunks", "aligned_rows", "delta", "merge", ...
	Text   string   `json:"text"`           // one sentence for people
	Value  float64  `json:"value"`          // the statistic: share, count, cosine, lambda
	Unit   string   `json:"unit,omitempty"` // what Value counts
	PValue *float64 `json:"p_value,omitempty"`
	Bound  string   `json:"bound,omitempty"` // how the p-value was bounded: "digest", "exchangeable-poisson", "control-calibrated"
	Model  string   `json:"model,omitempty"` // where it is not the verdict's own model: "name@version"
}

// TensorMatch says which tensor of the file is which tensor of the registered model.
type TensorMatch struct {
	Suspect    string  `json:"suspect"`
	Registered string  `json:"registered"`
	Relation   string  `json:"relation"`            // "exact", "chunks", "cast", "quantised", "derived", ...
	Transform  string  `json:"transform,omitempty"` // "transposed", "rows 0-255", ...
	Cosine     float64 `json:"cosine"`              // estimated, -1 to 1
	Parameters int64   `json:"parameters"`          // matched elements of the registered tensor
}

// Other is a further registered model that the file matches.
type Other struct {
	Model        string   `json:"model"`
	ModelVersion string   `json:"model_version"`
	Kind         string   `json:"kind"`
	Verdict      Word     `json:"verdict"`
	Coverage     Coverage `json:"coverage"`
	PValue       *float64 `json:"p_value,omitempty"`
}

// Finding is something odd about the file itself, see formats.Finding.
type Finding struct {
	Code     string `json:"code"`
	Severity string `json:"severity"` // info, warning, unread, danger
	Text     string `json:"text"`
	Offset   int64  `json:"offset"` // -1 where there is none
}

// Digests are for exchange with other tools.
type Digests struct {
	BLAKE3  string `json:"blake3,omitempty"`  // of the file, as b3sum prints it
	SHA256  string `json:"sha256,omitempty"`  // of the file
	Content string `json:"content,omitempty"` // of the tensors, unchanged by renaming, reordering and repackaging
}

// Error is what a program prints on stderr with --json.
type Error struct {
	SchemaVersion int    `json:"schema_version"`
	Path          string `json:"path,omitempty"`
	Error         string `json:"error"`
	Hint          string `json:"hint,omitempty"` // what to do next
}
