// Package pytorch reads what torch.save and torch.jit write: zip files (since
// 1.6, TorchScript and lite included), the five pickles before that, the tar
// files of 0.1, and pickles that hold tensors or NumPy arrays themselves. Nothing
// is imported, called or executed; see the sub-package pickle. Sources: PyTorch's
// torch/serialization.py, torch/_utils.py and caffe2/serialize.
package pytorch

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"weightwarden/formats"
	"weightwarden/formats/archive"
	"weightwarden/formats/pytorch/pickle"
)

const id formats.ID = "pytorch"

// Variants name the kinds of PyTorch file in Model.Variant.
const (
	variantZip     = "zip"             // every member is accounted for
	variantZipMore = "zip and members" // other members are in the archive
	variantLegacy  = "legacy"          // five pickles, then storages
	variantTar     = "tar"
	variantPickle  = "pickle"
)

// Decoder reads PyTorch files.
type Decoder struct{}

// ID implements formats.Decoder.
func (Decoder) ID() formats.ID { return id }

// Sniff implements formats.Decoder.
func (Decoder) Sniff(head []byte) bool {
	return isZip(head) || isTar(head) || isPickle(head)
}

// SniffTail implements formats.TailSniffer: a zip behind something else.
func (Decoder) SniffTail(tail []byte) bool {
	return bytes.Contains(tail, []byte{'P', 'K', 5, 6})
}

func isZip(head []byte) bool { return archive.Within(head, "PK\x03\x04") }

func isTar(head []byte) bool {
	return len(head) >= 512 && bytes.Equal(head[257:262], []byte("ustar"))
}

// isPickle recognises protocol 2 and later by their first opcode, and older ones
// by running what is there.
func isPickle(head []byte) bool {
	if len(head) < 2 {
		return false
	}
	if head[0] == 0x80 {
		return head[1] <= 5
	}
	if bytes.IndexByte([]byte("(]}cILSVlditX\x8c\x8a"), head[0]) < 0 {
		return false
	}
	res, err := pickle.Run(context.Background(), formats.BytesSource(head), 0, formats.Limits{})
	if err != nil || res.Broken != nil && !errors.Is(res.Broken, formats.ErrTruncated) {
		return false
	}
	if len(res.Globals) > 0 && !slices.ContainsFunc(res.Globals, importable) {
		return false // lines that begin with a c: lists of Java classes, messages
	}
	return len(res.Globals) > 0 || res.Broken == nil && res.Opcodes > 1 && res.Value != nil || res.Opcodes >= 32
}

// importable reports whether Python could import a global that pickles before protocol 4 name: a dotted module, and a name
// in it without dots.
func importable(g *pickle.Global) bool {
	for part := range strings.SplitSeq(g.Module, ".") {
		if !identifier(part) {
			return false
		}
	}
	return identifier(g.Name)
}

// identifier reports whether text could be a Python name, as far as ASCII goes.
func identifier(text string) bool {
	for i, c := range text {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c > 127
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return text != ""
}

// Decode implements formats.Decoder. A file may be several kinds at once; all
// that can be read is listed.
func (Decoder) Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	head := make([]byte, min(src.Size(), formats.HeadBytes))
	if err := formats.ReadFull(src, head, 0); err != nil {
		return nil, &formats.Error{Format: id, Field: "head", Offset: 0, Err: err}
	}
	var kinds []func(context.Context, formats.Source, formats.Limits) (*formats.Model, error)
	if isPickle(head) {
		kinds = append(kinds, decodePickles)
	}
	if isTar(head) {
		kinds = append(kinds, decodeTar, decodeBehindTar)
	} else {
		kinds = append(kinds, decodeZip)
	}
	var out *formats.Model
	var failed error
	for _, kind := range kinds {
		m, err := kind(ctx, src, limits)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			if failed == nil || errors.Is(failed, formats.ErrNotRecognized) {
				failed = err
			}
		case out == nil:
			out = m
		default:
			out = merge(out, m, limits)
		}
	}
	if out == nil {
		return nil, failed
	}
	return out, nil
}

// merge joins two readings of one file.
func merge(a, b *formats.Model, limits formats.Limits) *formats.Model {
	if len(a.Tensors) == 0 {
		a, b = b, a
	}
	if len(b.Tensors) > 0 {
		a.AddFinding(limits.Findings, formats.Finding{Code: "pytorch.polyglot", Severity: formats.Danger, Offset: -1,
			Text: "the file is a PyTorch file of kind " + a.Variant + " and of kind " + b.Variant + " at once"})
	}
	a.Tensors = append(a.Tensors, b.Tensors...)
	a.Metadata = append(a.Metadata, b.Metadata...)
	for _, f := range b.Findings {
		a.AddFinding(limits.Findings, f)
	}
	return a
}
