package tensorflow

import (
	"encoding/binary"
	"path/filepath"
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

func corpus() []formatstest.Case {
	return []formatstest.Case{{Name: "checkpoint", Data: checkpoint(), Folder: folder(), Tensors: 2}}
}

func TestConformance(t *testing.T) { formatstest.Run(t, Decoder{}, corpus()) }

func FuzzDecoder(f *testing.F) { formatstest.Fuzz(f, Decoder{}, corpus()) }

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
	for _, name := range []string{"saved_model/variables/variables.index", "new.ckpt.index"} {
		t.Run(name, func(t *testing.T) {
			formatstest.Expect(t, Decoder{}, fixtures.Path(t, "fixtures/tensorflow", filepath.FromSlash(name)))
		})
	}
}
