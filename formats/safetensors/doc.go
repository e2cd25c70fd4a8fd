// Package safetensors reads the safetensors format: eight bytes of header length,
// a JSON header, the bytes of the tensors. Source: the README and the reference
// implementation of huggingface/safetensors (format 0.6).
//
// The header is read as a stream by own code, since what it may hide (duplicate
// names, holes, overlaps, extra keys, bytes behind the last tensor) has to stay
// visible. The names of the classic dtypes are those of nlpodyssey/safetensors;
// the newer ones (F8, F6, F4, C64) are added here.
package safetensors
