// Package ocdbt reads the databases that Orbax (JAX, Flax) keeps checkpoints in: a
// manifest.ocdbt that leads to a B+tree of keys, whose nodes and larger values lie in
// the files of the folder d/. The values are the metadata and chunks of Zarr arrays;
// each array becomes one tensor. Only the last version is read.
//
// Source: the chapter "Storage format" on the driver ocdbt in the documentation of
// google/tensorstore, and format/config_codec.h there for manifest_kind.
package ocdbt
