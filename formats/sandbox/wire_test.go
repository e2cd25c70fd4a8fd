package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weightwarden/formats"
)

var file = formats.BytesSource(make([]byte, 1000))

func sample() *formats.Model {
	return &formats.Model{Format: "tar(pytorch)", Variant: "zip",
		Tensors: []formats.Tensor{
			{Name: "a\x00\xff", DType: formats.BF16, Shape: []int64{2, 3}, Member: "x!y", Data: formats.Extent{Source: file, Offset: 7, Length: 12}},
			{Name: "b", DType: formats.F32, Shape: []int64{2, 0}, Data: formats.Extent{Source: file, Strides: []int64{-1, 1 << 40}, BigEndian: true}},
			{Name: "nowhere", DType: formats.Unknown, Shape: []int64{}},
		},
		Metadata: []formats.KeyValue{{Key: "k", Value: "v"}},
		Findings: []formats.Finding{{Code: "c.d", Severity: formats.Danger, Text: "text", Offset: -1}},
	}
}

func encoded(tb testing.TB, m *formats.Model) []byte {
	tb.Helper()
	var buf bytes.Buffer
	e := &encoder{w: bufio.NewWriter(&buf)}
	err := e.model(m, func(s formats.Source) (place, error) {
		if s == nil {
			return place{}, nil
		}
		return place{kind: placeFile, offset: 100}, nil
	})
	if err == nil {
		err = e.w.Flush()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func decoded(data []byte, limits formats.Limits) (*formats.Model, error) {
	limits = limits.OrDefault()
	d := &decoder{r: bufio.NewReader(bytes.NewReader(data)), limits: limits, left: 1 << 20}
	return d.model(func(kind, index uint64) (formats.Source, bool) { return file, kind == placeFile && index == 0 })
}

func TestModelTravels(t *testing.T) {
	want := sample()
	got, err := decoded(encoded(t, want), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Tensors {
		if want.Tensors[i].Data.Source != nil {
			want.Tensors[i].Data.Offset += 100
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestRepliesAreHostile(t *testing.T) {
	change := func(f func(*formats.Model)) []byte {
		m := sample()
		f(m)
		return encoded(t, m)
	}
	for name, data := range map[string][]byte{
		"behind the file":   change(func(m *formats.Model) { m.Tensors[0].Data.Length = 901 }),
		"negative offset":   change(func(m *formats.Model) { m.Tensors[0].Data.Offset = -101 }),
		"offset wraps":      change(func(m *formats.Model) { m.Tensors[0].Data.Offset = 1<<63 - 101 }),
		"negative shape":    change(func(m *formats.Model) { m.Tensors[0].Shape = []int64{-1} }),
		"shape overflows":   change(func(m *formats.Model) { m.Tensors[0].Shape = []int64{1 << 40, 1 << 40} }),
		"too many axes":     change(func(m *formats.Model) { m.Tensors[0].Shape = make([]int64, maxAxes+1) }),
		"too many tensors":  change(func(m *formats.Model) { m.Tensors = append(m.Tensors, m.Tensors...) }),
		"too many findings": change(func(m *formats.Model) { m.Findings = append(m.Findings, m.Findings[0], m.Findings[0]) }),
		"severity":          change(func(m *formats.Model) { m.Findings[0].Severity = "fine" }),
		"name":              change(func(m *formats.Model) { m.Tensors[0].Name = string(make([]byte, 70000)) }),
		"count of tensors":  append(encoded(t, &formats.Model{})[:2], bytes.Repeat([]byte{0xff}, 20)...),
	} {
		if m, err := decoded(data, formats.Limits{Tensors: 3, Findings: 2}); m != nil || !errors.Is(err, errReply) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

func TestErrorTravels(t *testing.T) {
	var buf bytes.Buffer
	e := &encoder{w: bufio.NewWriter(&buf)}
	want := formats.Errorf("gguf", "n_kv", 8, formats.ErrTruncated, "text")
	if err := errors.Join(e.failed(want), e.w.Flush()); err != nil {
		t.Fatal(err)
	}
	d := &decoder{r: bufio.NewReader(&buf), limits: formats.DefaultLimits(), left: 1 << 20}
	var got *formats.Error
	if err := d.failed(); !errors.As(err, &got) || got.Format != "gguf" || got.Field != "n_kv" || got.Offset != 8 || !errors.Is(err, formats.ErrTruncated) {
		t.Fatalf("%#v", err)
	}
}

func FuzzReply(f *testing.F) {
	f.Add(encoded(f, sample()))
	f.Add(encoded(f, &formats.Model{}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decoded(data, formats.Limits{Tensors: 100, HeaderBytes: 1000})
		if (m == nil) == (err == nil) {
			t.Fatalf("%v and %v", m, err)
		}
		if m == nil {
			return
		}
		for i := range m.Tensors {
			e := m.Tensors[i].Data
			if e.Source != nil && (e.Offset < 0 || e.Length < 0 || e.Offset+e.Length > e.Source.Size()) {
				t.Fatalf("extent %d+%d", e.Offset, e.Length)
			}
		}
	})
}
