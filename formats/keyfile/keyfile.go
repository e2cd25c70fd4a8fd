// Package keyfile knows the names of small files that stand for a model, or a tensor, whose weights lie in others
// beside them: a database of tensors, an array whose chunks are files, a list of shards. Who passes by small files
// must not pass by these.
package keyfile

import (
	"path/filepath"
	"strings"
)

const (
	// OCDBT is what a database of tensors (orbax, TensorStore) begins with.
	OCDBT = "manifest.ocdbt"
	// TFJS says what lies in the shards of a TensorFlow.js model.
	TFJS = "model.json"
	// ShardList ends the names of the lists of shards that hubs use.
	ShardList = ".index.json"
)

// IsZarr reports whether a file or key of that name holds what an array is, in version 2 or 3 of Zarr.
func IsZarr(name string) bool { return name == ".zarray" || name == "zarr.json" }

// Opaque reports whether path names the key of files that tell nothing without it: they are packed, or
// their numbers are quantised.
func Opaque(path string) bool {
	name := filepath.Base(path)
	return name == OCDBT || name == TFJS || IsZarr(name)
}

// Is reports whether path names the key of other files, those included that can be judged alone.
func Is(path string) bool { return Opaque(path) || strings.HasSuffix(path, ShardList) }
