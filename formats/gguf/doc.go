// Package gguf reads GGUF files: versions 1 to 3, both byte orders, splits, every
// tensor type of ggml. Source: docs/gguf.md of ggml-org/ggml and ggml.h; what
// writers really do: gguf-py and llama.cpp.
//
// It is more lenient than llama.cpp, since a file that llama.cpp refuses may still
// carry weights: odd alignments, types, dimensions and offsets are findings.
package gguf
