// Package index finds the registered models that a fingerprint matches. A DB is
// a list of immutable segments; each has its entries' encoded fingerprints and
// sorted tables of chunk keys and row bands, so that looking up costs the same few
// steps whether ten models are registered or a hundred thousand. A registry file
// (.fpdb) is memory-mapped; adding writes a new segment, removing writes a mark.
//
// docs/fingerprint-spec.md has the layout of the file.
package index
