package onnx

import "weightwarden/formats/internal/protobuf"

// Sniff implements formats.Decoder. Protobuf has no magic and its fields come in
// any order, so that Sniff refuses only what cannot be a message; Decode looks
// closer, and what turns out to be something else ends there in ErrNotRecognized.
func (Decoder) Sniff(head []byte) bool { return protobuf.Sniff(head, 7) }
