package fingerprint

// Options say how much of a file to look at, and with which key.
type Options struct {
	// Key of sketches and chunk keys; nil means the public default.
	Key *Key
	// Register makes a fingerprint for a registry: every chunk is hashed and the
	// slower layers are included.
	Register bool
	// Lean reads every byte and computes every layer, but works on a fixed part of
	// what it reads: it hashes the chunks that their cut value selects, about one
	// in eight, of the matrices that it sketches, and of them it sketches the rows
	// of the aligned sample and of layer T; one matrix in sixteen, and of few one in
	// less, is sketched in full. A file of less than 64 MiB is never looked at so.
	// It is enough to know which model is there, whatever was done to it, and not
	// to prove identity, since digests of pieces, tensors and files stay zero where
	// a chunk was not hashed. Register overrules it.
	Lean bool
	// Quick reads headers and sampled rows only. Chunk layers are left out.
	Quick bool
	// FileDigests adds BLAKE3 and SHA-256 of the whole file (one more read).
	FileDigests bool
	// Jobs is the number of cores to use; 0 means all.
	Jobs int
	// Progress is told of bytes read, from several goroutines; nil for none.
	Progress func(bytes int64)
}
