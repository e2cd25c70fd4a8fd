// Package onnx reads ONNX models: every tensor of the main graph, of nested
// sub-graphs, functions and training graphs, whether it is an initializer, sparse,
// an attribute of a node (Constant), or in an external data file. Source: onnx.proto
// of onnx/onnx 1.20 and docs/ExternalData.md there.
//
// The protobuf wire format is read as a stream by own code: weights are passed
// over and not held, files may be larger than the 2 GiB that protobuf libraries
// stop at, and one broken message does not hide those behind it.
package onnx
