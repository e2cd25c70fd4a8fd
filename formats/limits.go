package formats

// Limits bound what a decoder may spend on one file. The zero value of a field
// means the default of DefaultLimits, see OrDefault.
type Limits struct {
	// HeaderBytes bounds the metadata bytes read and held: safetensors JSON,
	// pickle streams, GGUF key-values, ONNX without its weights.
	HeaderBytes int64
	// Tensors bounds the number of tensors of one file, containers included.
	Tensors int
	// Depth bounds nesting: archives in archives, sub-graphs, JSON, pickles.
	Depth int
	// Members bounds the entries of all archives in one file.
	Members int
	// InflatedBytes bounds what all compressed members of one file may unpack to.
	InflatedBytes int64
	// InflateRatio bounds unpacked against packed bytes of one member.
	InflateRatio int64
	// NameBytes bounds one name or string kept; longer ones are cut, with a finding.
	NameBytes int
	// Findings bounds the findings kept; the last one says that there were more.
	Findings int
}

// DefaultLimits fit every model file seen in the wild, with room, and keep a
// decoder under some hundred MiB of memory.
func DefaultLimits() Limits {
	return Limits{
		HeaderBytes:   100 << 20,
		Tensors:       2_000_000,
		Depth:         32,
		Members:       1_000_000,
		InflatedBytes: 1 << 40,
		InflateRatio:  1100, // deflate cannot exceed 1032
		NameBytes:     4096,
		Findings:      200,
	}
}

// OrDefault returns l with every zero field replaced by the default.
func (l Limits) OrDefault() Limits {
	d := DefaultLimits()
	set := func(v *int64, def int64) {
		if *v == 0 {
			*v = def
		}
	}
	setInt := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&l.HeaderBytes, d.HeaderBytes)
	set(&l.InflatedBytes, d.InflatedBytes)
	set(&l.InflateRatio, d.InflateRatio)
	setInt(&l.Tensors, d.Tensors)
	setInt(&l.Depth, d.Depth)
	setInt(&l.Members, d.Members)
	setInt(&l.NameBytes, d.NameBytes)
	setInt(&l.Findings, d.Findings)
	return l
}
