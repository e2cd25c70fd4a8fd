package zarr

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"weightwarden/formats"
	"weightwarden/formats/keyfile"
)

// MaxMetadata bounds the bytes of the JSON of one array.
const MaxMetadata = 1 << 20

// IsMetadata reports whether a key or file of that name holds what an array is.
func IsMetadata(name string) bool { return keyfile.IsZarr(name) }

// layout is what the metadata of an array say.
type layout struct {
	shape, chunk []int64
	dtype        formats.DType
	element      int64 // bytes
	big          bool
	order        []int // axes of a chunk as stored, nil for row-major order
	codecs       []codec
	shard        *shard // chunks lie in larger ones
	key          func(at []int64) string
	fill         string // other than zero
}

// codec is one step from the bytes of a chunk to what is stored.
type codec struct {
	name string
}

// shard is how chunks lie in a larger one: with a table of their places at its end
// or start.
type shard struct {
	chunk   []int64 // shape of the larger one
	atStart bool
	checked bool // a checksum follows the table
}

// metadata is the JSON of an array, of either version.
type metadata struct {
	Format int             `json:"zarr_format"`
	Shape  []int64         `json:"shape"`
	Fill   json.RawMessage `json:"fill_value"`
	version2
	version3
}

// version2 is what a .zarray has.
type version2 struct {
	Chunk     []int64         `json:"chunks"`
	Type      json.RawMessage `json:"dtype"`
	Order     string          `json:"order"`
	Separator string          `json:"dimension_separator"`
	Codec     *struct {
		ID string `json:"id"`
	} `json:"compressor"`
	Filters []struct {
		ID string `json:"id"`
	} `json:"filters"`
}

// version3 is what a zarr.json has.
type version3 struct {
	Node     string          `json:"node_type"`
	DataType json.RawMessage `json:"data_type"`
	Grid     struct {
		Name          string `json:"name"`
		Configuration struct {
			Chunk []int64 `json:"chunk_shape"`
		} `json:"configuration"`
	} `json:"chunk_grid"`
	Key struct {
		Name          string `json:"name"`
		Configuration struct {
			Separator string `json:"separator"`
		} `json:"configuration"`
	} `json:"chunk_key_encoding"`
	Codecs []codecJSON `json:"codecs"`
}

// parse reads the metadata of version 2 (.zarray) or 3 (zarr.json).
func parse(text []byte) (*layout, error) {
	var m metadata
	in := json.NewDecoder(bytes.NewReader(text))
	if err := in.Decode(&m); err != nil {
		return nil, fmt.Errorf("%w: the metadata: %.200s", formats.ErrMalformed, strconv.Quote(err.Error()))
	}
	if rest := bytes.TrimSpace(text[in.InputOffset():]); len(rest) > 0 {
		return nil, fmt.Errorf("%w: metadata that something else follows", formats.ErrNotRecognized)
	}
	l := &layout{shape: m.Shape, fill: fillOf(m.Fill)}
	var err error
	switch {
	case m.Format == 2 && m.version2.Chunk != nil && m.Type != nil:
		err = l.version2(&m.version2)
	case m.Format == 3 && m.Node == "array":
		err = l.version3(&m.version3)
	default:
		return nil, fmt.Errorf("%w: no array of Zarr", formats.ErrNotRecognized)
	}
	if err != nil {
		return nil, err
	}
	return l, l.check()
}

func (l *layout) version2(m *version2) error {
	l.chunk = m.Chunk
	var name string
	if json.Unmarshal(m.Type, &name) != nil {
		return fmt.Errorf("%w: a structured type", formats.ErrUnsupported)
	}
	l.numpyType(name)
	if m.Order == "F" && len(l.shape) > 1 {
		for i := range l.shape {
			l.order = append(l.order, len(l.shape)-1-i)
		}
	}
	for _, f := range m.Filters {
		l.codecs = append(l.codecs, codec{f.ID})
	}
	if m.Codec != nil {
		l.codecs = append(l.codecs, codec{m.Codec.ID})
	}
	l.key = keys("", separator(m.Separator, "."))
	return nil
}

func (l *layout) version3(m *version3) error {
	l.chunk = m.Grid.Configuration.Chunk
	if m.Grid.Name != "regular" {
		return fmt.Errorf("%w: chunks of a grid %.100q", formats.ErrUnsupported, m.Grid.Name)
	}
	var name string
	if json.Unmarshal(m.DataType, &name) == nil {
		l.dtype, l.element = typeNamed(name)
	}
	l.key = keys("c", separator(m.Key.Configuration.Separator, "/"))
	if m.Key.Name == "v2" {
		l.key = keys("", separator(m.Key.Configuration.Separator, "."))
	}
	return l.chain(m.Codecs, true)
}

// check refuses what cannot be.
func (l *layout) check() error {
	if len(l.shape) > 32 || len(l.chunk) != len(l.shape) || l.order != nil && len(l.order) != len(l.shape) {
		return fmt.Errorf("%w: chunks of %d axes for a shape of %d", formats.ErrMalformed, len(l.chunk), len(l.shape))
	}
	for i, c := range l.chunk {
		if c < 1 || l.shape[i] < 0 || l.shard != nil && (len(l.shard.chunk) != len(l.chunk) || l.shard.chunk[i] < c || l.shard.chunk[i]%c != 0) {
			return fmt.Errorf("%w: chunks %v of a shape %v", formats.ErrMalformed, l.chunk, l.shape)
		}
	}
	if l.element < 1 || l.element > 1<<20 {
		return fmt.Errorf("%w: the type of the elements", formats.ErrUnsupported)
	}
	return nil
}

// codecJSON is an entry of the codecs of version 3.
type codecJSON struct {
	Name          string `json:"name"`
	Configuration struct {
		Endian   string          `json:"endian"`
		Order    json.RawMessage `json:"order"`
		Chunk    []int64         `json:"chunk_shape"`
		Codecs   []codecJSON     `json:"codecs"`
		Index    []codecJSON     `json:"index_codecs"`
		Location string          `json:"index_location"`
	} `json:"configuration"`
}

// chain reads a list of codecs. Those of the outermost list may hold shards.
func (l *layout) chain(list []codecJSON, outermost bool) error {
	for i, c := range list {
		switch c.Name {
		case "bytes", "endian":
			l.big = c.Configuration.Endian == "big"
		case "transpose":
			if l.order != nil || json.Unmarshal(c.Configuration.Order, &l.order) != nil || !isPermutation(l.order) {
				return fmt.Errorf("%w: a transposition of chunks", formats.ErrUnsupported)
			}
			if slices.IsSorted(l.order) {
				l.order = nil
			}
		case "sharding_indexed":
			if !outermost || i != 0 || len(list) != 1 {
				return fmt.Errorf("%w: shards within other codecs", formats.ErrUnsupported)
			}
			l.shard = &shard{chunk: l.chunk, atStart: c.Configuration.Location == "start"}
			l.chunk = c.Configuration.Chunk
			for _, x := range c.Configuration.Index {
				switch {
				case x.Name == "crc32c":
					l.shard.checked = true
				case x.Name != "bytes" || x.Configuration.Endian == "big":
					return fmt.Errorf("%w: a packed table of chunks", formats.ErrUnsupported)
				}
			}
			return l.chain(c.Configuration.Codecs, false)
		default:
			l.codecs = append(l.codecs, codec{c.Name})
		}
	}
	return nil
}

func isPermutation(order []int) bool {
	seen := make([]bool, len(order))
	for _, x := range order {
		if x < 0 || x >= len(order) || seen[x] {
			return false
		}
		seen[x] = true
	}
	return true
}

func separator(s, usual string) string {
	if s == "." || s == "/" {
		return s
	}
	return usual
}

// keys returns the names of chunks: their place in the grid, joined, behind a
// prefix if there is one.
func keys(prefix, sep string) func(at []int64) string {
	return func(at []int64) string {
		parts := make([]string, 0, len(at)+1)
		if prefix != "" {
			parts = append(parts, prefix)
		}
		for _, x := range at {
			parts = append(parts, strconv.FormatInt(x, 10))
		}
		if len(parts) == 0 {
			return "0" // of an array without axes, in version 2
		}
		return strings.Join(parts, sep)
	}
}

// fillOf returns what chunks that are not there hold, if that is not zero.
func fillOf(v json.RawMessage) string {
	switch text := string(bytes.TrimSpace(v)); text {
	case "", "null", "0", "0.0", "-0.0", "false", `"0"`, `"0.0"`, `""`:
		return ""
	default:
		return formats.Cut(text, 100)
	}
}

// numpyType reads a type as NumPy writes it: byte order, kind and bytes.
func (l *layout) numpyType(name string) {
	if d, size := typeNamed(name); d != formats.Unknown {
		l.dtype, l.element = d, size
		return
	}
	if len(name) < 3 {
		return
	}
	size, err := strconv.ParseInt(name[2:], 10, 32)
	if err != nil || size < 1 {
		return
	}
	l.element, l.big = size, name[0] == '>'
	switch name[1] {
	case 'U':
		l.element *= 4
	case 'M', 'm', 'S', 'V':
	case 'f', 'i', 'u', 'c', 'b':
		kinds := map[byte]string{'f': "float", 'i': "int", 'u': "uint", 'c': "complex", 'b': "bool"}
		full := kinds[name[1]]
		if name[1] != 'b' {
			full += strconv.FormatInt(size*8, 10)
		}
		if d, n := typeNamed(full); n == size {
			l.dtype = d
		}
	}
}

// typeNamed returns a type of version 3, or of TensorStore, and the bytes that an
// element takes in a chunk; those of less than eight bits take one.
func typeNamed(name string) (formats.DType, int64) {
	types := map[string]formats.DType{"bool": formats.Bool, "int8": formats.I8, "int16": formats.I16, "int32": formats.I32, "int64": formats.I64,
		"uint8": formats.U8, "uint16": formats.U16, "uint32": formats.U32, "uint64": formats.U64, "float16": formats.F16,
		"float32": formats.F32, "float64": formats.F64, "bfloat16": formats.BF16, "complex64": formats.C64, "complex128": formats.C128,
		"float8_e4m3fn": formats.F8E4M3, "float8_e5m2": formats.F8E5M2, "float8_e4m3fnuz": formats.F8E4M3Z, "float8_e5m2fnuz": formats.F8E5M2Z,
		"float8_e8m0fnu": formats.F8E8M0, "int4": formats.I8, "int2": formats.I8, "uint4": formats.U8, "uint2": formats.U8,
		"float4_e2m1fn": formats.U8}
	d, ok := types[name]
	if !ok {
		return formats.Unknown, 0
	}
	_, bits := d.Block()
	return d, bits / 8
}
