// Package formats describes model files: what a file of weights is (Source),
// what was found in it (Model, Tensor), how it is read (Decoder, Container),
// and how much of it a decoder may touch (Limits).
//
// Decoders find a format by content, never by name. They list tensors with the
// place of their bytes; they never load, execute or allocate what a file merely
// claims. What is odd about a file is a Finding on the Model, what makes it
// unreadable is an *Error, and a call returns one or the other, never both.
//
// The sub-packages hold one format each; formats/all has the one list of them.
// This package imports the standard library only.
package formats
