package fingerprint

import (
	"weightwarden/fingerprint/invariant"
	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
)

// Scheme is the version of all definitions that a fingerprint depends on: cut
// rule, digests, sketches, samples. Fingerprints of different schemes are never
// compared; several can live side by side in one registry.
type Scheme uint16

// Scheme1 is the present scheme, docs/fingerprint-spec.md.
const Scheme1 Scheme = 1

// Digest is a BLAKE3 hash of 32 bytes.
type Digest [32]byte

// ChunkKey names the contents of a chunk: the first 16 bytes of its keyed BLAKE3.
type ChunkKey [16]byte

// Fingerprint is what is known of one file, one artifact or one set of shards.
type Fingerprint struct {
	Scheme     Scheme
	KeyID      KeyID  // which key the sketches and chunk keys were made with
	Format     string // formats.Model.Format, "unknown" for bytes that no decoder read
	Size       int64  // bytes of the file, or of all files of a set
	Registered bool   // made for a registry: every chunk hashed, invariants included

	Files   []File   // the file itself first, then members and files beside it that hold tensors
	Pieces  []Piece  // what the bytes were cut into
	Tensors []Tensor // what the decoder saw, in file order
	Layers  []invariant.Layer

	BytesRead   int64    // bytes read to make this fingerprint; not encoded
	UnreadBytes int64    // bytes that could not be read, or lie beyond the end of a truncated file
	Notes       []string // what was not done and why, for people; not encoded
	Digests     *FileDigests
	Loose       []Loose // bytes that are no tensor's, for a second look; not encoded
}

// Loose is a run of bytes of which no decoder knows more: before, between and behind
// tensors, or all of a file.
type Loose struct {
	Member string // of a container, as in Tensor
	Data   formats.Extent
}

// File is one file of the fingerprint: the one that was given, a member of a
// container, or a shard or data file beside it.
type File struct {
	Name   string // member name; empty for the file itself
	Size   int64
	Digest Digest // identity of the whole file; zero where not all of it was hashed
}

// FileDigests are digests of a whole file for exchange with other tools.
type FileDigests struct {
	BLAKE3, SHA256 Digest
}

// Piece is a run of bytes that was chunked on its own: the contents of one
// tensor, or what lies between tensors (headers, padding), or a whole file that
// nothing could parse. Tensors that share their bytes share a Piece.
type Piece struct {
	File   int   // which file of a set or container; 0 for a plain file
	Offset int64 // in that file
	Length int64 // bytes read
	Chunks []Chunk
	Digest Digest // over the chunk keys and lengths; zero when not every chunk was hashed
	Plain  bool   // all bytes equal, or next to no information: no evidence
}

// Chunk is a content-defined part of a Piece, or several that were not hashed and follow each other.
// There are seven in a megabyte: it is as small as can be.
type Chunk struct {
	Key  ChunkKey // zero when it was not hashed
	size uint64   // length, twice; 1 more where it is plain
}

// NewChunk returns a chunk of length bytes, fewer than 2^62. Plain is next to no information, and no evidence.
func NewChunk(length int64, key ChunkKey, plain bool) Chunk {
	return Chunk{Key: key, size: uint64(length)<<1 | uint64(b2u(plain))}
}

// Length is in bytes.
func (c Chunk) Length() int64 { return int64(c.size >> 1) }

// Plain reports whether the bytes are next to no information: no evidence.
func (c Chunk) Plain() bool { return c.size&1 != 0 }

// Tensor is one logical matrix: a tensor of the file, or several packed ones that
// hold a single quantised matrix (quant.View).
type Tensor struct {
	Name       string
	Member     string
	DType      formats.DType
	Packing    string  // quant.View.Scheme: "plain", "gptq" ...
	Shape      []int64 // as in the file
	Rows, Cols int64   // as sketched
	Parameters int64   // logical elements
	Bytes      int64
	Pieces     []int  // indices into Fingerprint.Pieces, the main one first
	Digest     Digest // of type class, element count and chunk keys
	// Constant says why the tensor carries no evidence: "equal", "sparse",
	// "formula", "" for real weights.
	Constant string
	Sketch   *sketch.Tensor // layers R and T; nil where the tensor is too small or was not decoded
	// What a second look read otherwise than the file gives it: the tensors that it was read
	// from, and how their numbers lie there where that is another order. Not encoded.
	Of    []int
	Moved string
}

// Rest returns the fingerprint without the tensors that drop lists, by their number.
// It is for comparing: files, notes and invariants are left out.
func (f *Fingerprint) Rest(drop map[int]bool) *Fingerprint {
	out := &Fingerprint{Scheme: f.Scheme, KeyID: f.KeyID, Registered: f.Registered, Format: f.Format, Size: f.Size, Pieces: f.Pieces}
	for i := range f.Tensors {
		if !drop[i] {
			out.Tensors = append(out.Tensors, f.Tensors[i])
		}
	}
	return out
}

// Content is the digest of all tensors together: BLAKE3 over the sorted tensor
// digests, so that renaming, reordering, re-sharding and repackaging leave it as
// it is. It is zero when a tensor was not hashed in whole.
func (f *Fingerprint) Content() Digest { return contentDigest(f) }

// Parameters is the number of logical elements of all tensors.
func (f *Fingerprint) Parameters() int64 {
	var n int64
	for i := range f.Tensors {
		n += f.Tensors[i].Parameters
	}
	return n
}
