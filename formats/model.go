package formats

import "math/bits"

// ID names a format in output: "safetensors", "pytorch", "onnx", "gguf", "tar".
type ID string

// Model is what was found in one file: its tensors in file order, and whatever
// a person or a rule may want to know about it. There are no maps, so that two
// runs print the same and duplicates stay visible.
type Model struct {
	Format   ID     // outermost format; a container names what it holds: "tar(safetensors)"
	Variant  string // "v3", "zip", "legacy", "sharded" ...
	Tensors  []Tensor
	Metadata []KeyValue
	Findings []Finding
	// Loose are members in which no decoder reads a tensor, as bytes: of LeastLoose bytes and more,
	// and only where they lie packed, so that the file's own bytes do not show them.
	Loose []Tensor
	// Parts are the numbers of the first tensor of every further file, where several files were joined:
	// tensors that belong together lie in one file.
	Parts []int
}

// Join makes one model of those of several files, in their order. Metadata and findings stay
// with the files; nil stands for a file that no decoder reads.
func Join(format ID, models []*Model) *Model {
	out := &Model{Format: format}
	for i, m := range models {
		if i > 0 {
			out.Parts = append(out.Parts, len(out.Tensors))
		}
		if m == nil {
			continue
		}
		for _, p := range m.Parts {
			out.Parts = append(out.Parts, p+len(out.Tensors))
		}
		out.Tensors, out.Loose = append(out.Tensors, m.Tensors...), append(out.Loose, m.Loose...)
	}
	return out
}

// LeastLoose is the size in bytes below which a member that no decoder reads is not
// listed.
const LeastLoose = 64 << 10

// Tensor is one named array and the place of its bytes.
type Tensor struct {
	Name  string // as the file has it, cut to Limits.NameBytes; hostile
	DType DType
	Shape []int64 // outermost axis first, the last one contiguous (ggml's order reversed)
	Data  Extent
	// Member is the path of archive members that lead to the tensor's file,
	// joined by "!", empty for a tensor of the file itself.
	Member string
}

// Extent is where the bytes of a tensor lie.
type Extent struct {
	// Source holds the bytes: the decoded file, a member of an archive, or an
	// external data file. Nil means they could not be reached; a finding says why.
	Source Source
	// Offset and Length are the bytes in Source. With Strides, Offset is that of
	// element 0 and Length the span from the lowest to the highest element.
	Offset, Length int64
	// Strides in elements per axis, nil for contiguous row-major data.
	Strides []int64
	// BigEndian says that multi-byte elements are stored most significant first.
	BigEndian bool
}

// KeyValue is one entry of a file's metadata, cut to Limits.NameBytes.
type KeyValue struct{ Key, Value string }

// Severity orders findings.
type Severity string

// The severities of findings.
const (
	Info    Severity = "info"    // worth showing
	Warning Severity = "warning" // unusual; another reader may see another model
	Unread  Severity = "unread"  // bytes that could not be judged: never "clean"
	Danger  Severity = "danger"  // would run code, or hides something on purpose
)

// Finding is something odd about a file.
type Finding struct {
	Code     string // stable, dotted: "pickle.global", "zip.crc", "safetensors.hole"
	Severity Severity
	Text     string // for people; quotes every piece of the file with %q
	Offset   int64  // byte offset, -1 where there is none
}

// Elements returns the number of elements of shape; false where it overflows or
// an axis is negative.
func Elements(shape []int64) (int64, bool) {
	n := uint64(1)
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > 1<<62 {
			return 0, false
		}
		n = lo
	}
	return int64(n), true
}

// Elements returns the number of elements of the tensor, 0 where its shape is
// impossible (decoders refuse or flag such shapes).
func (t *Tensor) Elements() int64 {
	n, _ := Elements(t.Shape)
	return n
}

// Bytes returns the bytes of the tensor's logical contents, and false where they
// are not known (opaque types, ragged blocks).
func (t *Tensor) Bytes() (int64, bool) {
	if t.DType == Unknown {
		return t.Data.Length, t.Data.Strides == nil
	}
	return t.DType.StoredBytes(t.Elements())
}

// AddFinding appends a finding unless max (Limits.Findings) is reached; the last
// one kept says that there were more.
func (m *Model) AddFinding(max int, f Finding) {
	switch {
	case len(m.Findings) < max-1:
		m.Findings = append(m.Findings, f)
	case len(m.Findings) == max-1:
		m.Findings = append(m.Findings, Finding{Code: "findings.more", Severity: f.Severity,
			Text: "more findings of this file are not shown", Offset: -1})
	case max > 0 && rank(f.Severity) > rank(m.Findings[len(m.Findings)-1].Severity):
		m.Findings[len(m.Findings)-1].Severity = f.Severity
	}
}

func rank(s Severity) int {
	switch s {
	case Danger:
		return 3
	case Unread:
		return 2
	case Warning:
		return 1
	}
	return 0
}
