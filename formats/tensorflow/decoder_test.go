package tensorflow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/formatstest"
	"weightwarden/internal/fixtures"
)

type proto = formatstest.Proto

func block(lines [][2]string) []byte {
	var out []byte
	last := ""
	for _, l := range lines {
		shared := 0
		for shared < min(len(last), len(l[0])) && last[shared] == l[0][shared] {
			shared++
		}
		for _, n := range []int{shared, len(l[0]) - shared, len(l[1])} {
			out = binary.AppendUvarint(out, uint64(n))
		}
		out = append(append(out, l[0][shared:]...), l[1]...)
		last = l[0]
	}
	return append(out, 0, 0, 0, 0, 1, 0, 0, 0) // one restart
}

// A variable of 100 GiB takes no more memory to open than a small one.
func TestHuge(t *testing.T) {
	const size = 100 << 30
	shape := proto{}.Bytes(2, proto{}.Varint(1, size/4))
	index := table([][2]string{
		{"", string(proto{}.Varint(1, 1).Bytes(3, proto{}.Varint(1, 1)))},
		{"w", string(proto{}.Varint(1, 1).Bytes(2, shape).Varint(5, size))},
	})
	src := formatstest.Beside{Source: formats.BytesSource(index), Files: map[string]formats.Source{"m.index": formats.BytesSource(index),
		"m.data-00000-of-00001": formatstest.Sparse{Bytes: size}}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := Decoder{}.Decode(t.Context(), src, formats.Limits{})
	runtime.ReadMemStats(&after)
	if err != nil || len(m.Tensors) != 1 || m.Tensors[0].Data.Length != size || len(m.Findings) > 0 {
		t.Errorf("%+v, %v", m, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("%d bytes allocated", used)
	}
}

// table writes an SSTable of one block.
func table(lines [][2]string) []byte {
	var out []byte
	put := func(b []byte) string {
		handle := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(len(out))), uint64(len(b)))
		out = append(append(out, b...), 0, 1, 2, 3, 4)
		return string(handle)
	}
	data := put(block(lines))
	meta := put(block(nil))
	index := put(block([][2]string{{"zzz", data}}))
	footer := append([]byte(meta+index), make([]byte, 40)...)[:40]
	return binary.LittleEndian.AppendUint64(append(out, footer...), tableMagic)
}

func arrays() []formatstest.Array {
	return []formatstest.Array{formatstest.Counting("dense/bias", formats.F32, 1, 3), formatstest.Counting("dense/kernel", formats.BF16, 7, 2, 3)}
}

func checkpoint() []byte {
	a := arrays()
	shape := func(dims ...uint64) proto {
		var p proto
		for _, d := range dims {
			p = p.Bytes(2, proto{}.Varint(1, d))
		}
		return p
	}
	return table([][2]string{
		{"", string(proto{}.Varint(1, 2).Bytes(3, proto{}.Varint(1, 1)))},
		{a[0].Name, string(proto{}.Varint(1, 1).Bytes(2, shape(3)).Varint(5, 12).Fixed32(6, 9))},
		{a[1].Name, string(proto{}.Varint(1, 14).Bytes(2, shape(2, 3)).Varint(3, 1).Varint(4, 4).Varint(5, 12))},
	})
}

func folder() formatstest.Folder {
	a := arrays()
	return formatstest.Folder{"other.index": []byte("x"), "model.ckpt.index": checkpoint(), "model.ckpt.data-00000-of-00002": a[0].Data,
		"model.ckpt.data-00001-of-00002": append([]byte("pad."), a[1].Data...)}
}

func corpus(tb testing.TB) []formatstest.Case {
	read := func(name string) []byte {
		b, err := os.ReadFile(fixtures.Path(tb, "fixtures/tensorflow", name))
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	packed := formatstest.Folder{"n.index": read("snappy_new.ckpt.index"), "n.data-00000-of-00001": read("snappy_new.ckpt.data-00000-of-00001")}
	return []formatstest.Case{
		{Name: "checkpoint", Data: checkpoint(), Folder: folder(), Tensors: 2},
		{Name: "compressed", Data: packed["n.index"], Folder: packed, Tensors: 21, Header: 300},
		{Name: "v1", Data: oldCheckpoint(), Tensors: 2},
		{Name: "v1 compressed", Data: read("snappy_old.ckpt"), Tensors: 16, Header: 300},
	}
}

// oldCheckpoint is one of version 1: a vector, and a matrix in two slices of a
// column and of two.
func oldCheckpoint() []byte {
	shape := func(dims ...uint64) (p proto) {
		for _, d := range dims {
			p = p.Bytes(2, proto{}.Varint(1, d))
		}
		return p
	}
	all := proto{}.Bytes(1, nil)
	part := func(start, length uint64) proto {
		return proto{}.Bytes(1, nil).Bytes(1, proto{}.Varint(1, start).Varint(2, length))
	}
	meta := proto{}.Bytes(1, proto{}.Text(1, "b").Bytes(2, shape(3)).Varint(3, 1).Bytes(4, all)).
		Bytes(1, proto{}.Text(1, "w").Bytes(2, shape(2, 3)).Varint(3, 9).Bytes(4, part(0, 1)).Bytes(4, part(1, 2)))
	slice := func(name string, s, data proto) string {
		return string(proto{}.Bytes(2, proto{}.Text(1, name).Bytes(2, s).Bytes(3, data)))
	}
	return table([][2]string{{"", string(proto{}.Bytes(1, meta))},
		{"\x00b\x00\x01", slice("b", all, proto{}.Fixed32(5, 1).Fixed32(5, 2).Fixed32(5, 3))},
		{"\x00w\x00\x01\x01", slice("w", part(0, 1), proto{}.Packed(10, 1, 4))},
		{"\x00w\x00\x01\x02", slice("w", part(1, 2), proto{}.Packed(10, 2, 3, 5, 6))}})
}

func TestConformance(t *testing.T) { formatstest.Run(t, Decoder{}, corpus(t)) }

func FuzzDecoder(f *testing.F) { formatstest.Fuzz(f, Decoder{}, corpus(f)) }

// The slices of a variable are one tensor, along any axis, unless one is missing.
func TestSlices(t *testing.T) {
	le := func(width int, values ...uint64) (b []byte) {
		for _, v := range values {
			b = append(b, binary.LittleEndian.AppendUint64(nil, v)[:width]...)
		}
		return b
	}
	b := formatstest.Array{Name: "b", DType: formats.F32, Shape: []int64{3}, Data: le(4, 1, 2, 3)}
	m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(oldCheckpoint()), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	formatstest.Same(t, m, []formatstest.Array{b, {Name: "w", DType: formats.I64, Shape: []int64{2, 3}, Data: le(8, 1, 2, 3, 4, 5, 6)}})
	if len(m.Findings) != 0 {
		t.Errorf("findings %v", m.Findings)
	}
	// The second slice says that it starts elsewhere.
	broken := bytes.Replace(oldCheckpoint(), []byte(proto{}.Varint(1, 1).Varint(2, 2).Varint(10, 0)[:4]), []byte(proto{}.Varint(1, 0).Varint(2, 2)), 2)
	m, err = formatstest.Check(t, Decoder{}, formats.BytesSource(broken), formats.Limits{})
	if err != nil || len(m.Tensors) != 3 || len(m.Findings) != 1 || m.Findings[0].Code != "tensorflow.slices" {
		t.Errorf("a hole: %+v, %v", m, err)
	}
}

// Compressed blocks that claim to be far larger than they can be are refused.
func TestCompressedBomb(t *testing.T) {
	packed := append(binary.AppendUvarint(nil, 1<<30), 0, 1, 2)
	var out []byte
	out = append(append(out, packed...), 1, 0, 0, 0, 0)
	handle := binary.AppendUvarint(binary.AppendUvarint(nil, 0), uint64(len(packed)))
	footer := append(append(append([]byte{}, handle...), handle...), make([]byte, 40)...)[:40]
	out = binary.LittleEndian.AppendUint64(append(out, footer...), tableMagic)
	if m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(out), formats.Limits{}); !errors.Is(err, formats.ErrMalformed) {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestCheckpoint(t *testing.T) {
	dir := folder()
	m, err := formatstest.Check(t, Decoder{}, dir.Source("model.ckpt.index"), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	formatstest.Same(t, m, arrays())
	if len(m.Findings) != 0 || m.Tensors[1].Member != "model.ckpt.data-00001-of-00002" {
		t.Errorf("findings %v, member %q", m.Findings, m.Tensors[1].Member)
	}
	delete(dir, "model.ckpt.data-00001-of-00002")
	m, err = formatstest.Check(t, Decoder{}, dir.Source("model.ckpt.index"), formats.Limits{})
	if err != nil || len(m.Tensors) != 2 || m.Tensors[1].Data.Source != nil || len(m.Findings) != 1 || m.Findings[0].Severity != formats.Unread {
		t.Errorf("a data file is gone: %+v, %v", m, err)
	}
}

func TestOtherTables(t *testing.T) {
	for name, data := range map[string][]byte{"of something else": table([][2]string{{"a", "b"}}), "empty": table(nil),
		"no footer": []byte(strings.Repeat("x", 100))} {
		if m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(data), formats.Limits{}); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestCheckpointsReadWhatTensorFlowReads(t *testing.T) {
	for _, name := range []string{"saved_model/variables/variables.index", "new.ckpt.index", "snappy_new.ckpt.index", "old.ckpt", "snappy_old.ckpt"} {
		t.Run(name, func(t *testing.T) {
			formatstest.Expect(t, Decoder{}, fixtures.Path(t, "fixtures/tensorflow", filepath.FromSlash(name)))
		})
	}
}
