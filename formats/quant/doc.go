// Package quant turns the bytes of tensors into numbers.
//
// Decode expands packed elements of one formats.DType to f32: plain numbers,
// small floats and every block type of ggml. Views turns the tensors of a model
// into logical matrices: a plain or block tensor is a view of its own, and
// tensors that belong together (packed codes with their scales, as GPTQ, AWQ,
// bitsandbytes, FP8, compressed-tensors or MLX write them) become one view. A
// Reader reads rows of a view, at random in bounded memory or in order at speed.
//
// Input is hostile: lengths are checked, nothing panics, and nothing is allocated
// by a size that a file claims. Values are whatever the bytes say, NaN and
// infinities included; it is for the caller to leave those out.
package quant
