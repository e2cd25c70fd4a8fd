// Package fingerprint recognises model weights whatever was done to them. It
// computes a Fingerprint of one file's tensors in a single bounded-memory pass,
// and compares two of them.
//
// A fingerprint has layers, described in docs/fingerprint-spec.md:
//
//	E  exact content: content-defined chunks under BLAKE3 (package chunk)
//	R  row sketches: sign bits of a keyed linear sketch of sampled rows
//	T  tensor sketches: the same sums, kept as numbers (package sketch)
//	I  invariants of neurons under rotation and permutation (package invariant)
//
// The package states facts: which tensor is which, how sure that is and why. It
// knows no policy, no names of people and no files.
package fingerprint
