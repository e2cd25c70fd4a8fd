// Package zarr reads arrays in chunks, as Zarr lays them out (versions 2 and 3): a
// small JSON file with shape, type and codecs, and a file for each chunk, or many
// chunks in one shard. It reads folders of files by itself, and gives the reader of
// OCDBT databases what to make of the keys in them.
//
// Sources: the Zarr storage specification version 2, the core specification of
// version 3 with its codecs (bytes, transpose, gzip, zstd, blosc, crc32c,
// sharding_indexed), and what TensorStore adds (types of less than 16 bits).
package zarr
