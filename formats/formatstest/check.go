package formatstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/metrics"
	"testing"
	"unicode/utf8"

	"weightwarden/formats"
)

// Check decodes src and reports every broken promise of the Decoder contract: a
// model and an error at once or none of both, an error without a reason, reading
// or allocating out of proportion, extents outside of their source, lists longer
// than the limits. It returns what the decoder returned.
func Check(tb testing.TB, dec formats.Decoder, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	tb.Helper()
	before := allocated()
	m, err := check(tb, dec, src, limits)
	if used, most := allocated()-before, uint64(8<<20+1024*src.Size()); used > most {
		tb.Errorf("the decoder and the checks allocated %d bytes for a file of %d", used, src.Size())
	}
	return m, err
}

// allocated returns the bytes that were ever allocated, but for small ones of late. It
// stops no other thread, as runtime.ReadMemStats does.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// check is Check without a look at the memory.
func check(tb testing.TB, dec formats.Decoder, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	tb.Helper()
	left, over := budget(src.Size()), false
	m, err := dec.Decode(context.Background(), counter{src, &left, &over}, limits)
	if over {
		tb.Errorf("the decoder read more than %d bytes of a file of %d", budget(src.Size()), src.Size())
	}
	if (m == nil) == (err == nil) {
		tb.Errorf("result xor error: model %v, error %v", m != nil, err)
	}
	if err != nil {
		checkError(tb, err)
	}
	if m != nil {
		checkModel(tb, m, limits.OrDefault())
	}
	return m, err
}

func checkError(tb testing.TB, err error) {
	tb.Helper()
	var fe *formats.Error
	if !errors.As(err, &fe) {
		tb.Errorf("error %v is no *formats.Error", err)
		return
	}
	if !hasReason(err) {
		tb.Errorf("error %v wraps none of the reasons", err)
	}
	if len(err.Error()) > 4096 {
		tb.Errorf("error text of %d bytes", len(err.Error()))
	}
}

func hasReason(err error) bool {
	for _, reason := range []error{formats.ErrNotRecognized, formats.ErrTruncated, formats.ErrLimit,
		formats.ErrMalformed, formats.ErrUnsupported} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

func checkModel(tb testing.TB, m *formats.Model, limits formats.Limits) {
	tb.Helper()
	if m.Format == "" {
		tb.Error("a model without a format")
	}
	if len(m.Tensors) > limits.Tensors || len(m.Findings) > limits.Findings {
		tb.Errorf("%d tensors, %d findings are over the limits", len(m.Tensors), len(m.Findings))
	}
	for i := range m.Tensors {
		if err := checkTensor(&m.Tensors[i], limits); err != nil {
			tb.Errorf("tensor %d %.100q: %v", i, m.Tensors[i].Name, err)
		}
	}
	for _, kv := range m.Metadata {
		if len(kv.Key) > limits.NameBytes || len(kv.Value) > limits.NameBytes {
			tb.Errorf("metadata of %d and %d bytes", len(kv.Key), len(kv.Value))
		}
	}
	for _, f := range m.Findings {
		if f.Code == "" || f.Severity == "" || f.Text == "" || !utf8.ValidString(f.Text) || len(f.Text) > 8*limits.NameBytes+1024 {
			tb.Errorf("finding %+v", f)
		}
	}
}

func checkTensor(t *formats.Tensor, limits formats.Limits) error {
	if len(t.Name) > limits.NameBytes {
		return fmt.Errorf("name of %d bytes", len(t.Name))
	}
	if _, ok := formats.Elements(t.Shape); !ok {
		return fmt.Errorf("impossible shape %v", t.Shape)
	}
	e := t.Data
	if e.Offset < 0 || e.Length < 0 {
		return fmt.Errorf("extent %d+%d", e.Offset, e.Length)
	}
	if e.Source == nil {
		return nil
	}
	if e.Offset > e.Source.Size() || e.Length > e.Source.Size()-e.Offset {
		return fmt.Errorf("extent %d+%d outside of %d bytes", e.Offset, e.Length, e.Source.Size())
	}
	if n, ok := t.Bytes(); t.Data.Strides == nil && (!ok || n != e.Length) {
		return fmt.Errorf("%s %v has %d bytes (%v), its extent %d", t.DType, t.Shape, n, ok, e.Length)
	}
	r, err := t.Reader()
	if err != nil {
		return fmt.Errorf("reader: %w", err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(r, 64<<10))
	if hasReason(err) {
		return nil // packed data may turn out to be broken only when it is unpacked
	}
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if want, _ := t.Bytes(); n != min(want, 64<<10) {
		return fmt.Errorf("read %d bytes of %d", n, want)
	}
	return nil
}
