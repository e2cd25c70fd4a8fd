package coreml

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/file"
	"weightwarden/formats/formatstest"
	"weightwarden/formats/quant"
	"weightwarden/internal/fixtures"
)

type proto = formatstest.Proto

var fixtureNames = []string{"ios16.mlpackage/Data/com.apple.CoreML/model.mlmodel", "ios18.mlpackage/Data/com.apple.CoreML/model.mlmodel",
	"network.mlmodel", "network_half.mlmodel", "network_8.mlmodel", "network_5.mlmodel", "network_lut.mlmodel"}

func TestReadsWhatTheReferenceReads(t *testing.T) {
	for _, name := range fixtureNames {
		t.Run(name, func(t *testing.T) {
			formatstest.Expect(t, ModelDecoder{}, fixtures.Path(t, "fixtures/coreml", filepath.FromSlash(name)))
		})
	}
}

func openFixture(t *testing.T, name string) *formats.Model {
	t.Helper()
	src, err := file.Open(fixtures.Path(t, "fixtures/coreml", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	m, err := formatstest.Check(t, ModelDecoder{}, src, formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Findings {
		t.Errorf("finding %+v", f)
	}
	return m
}

// The numbers of packed weights equal those that coremltools unpacks, bit for bit.
func TestUnpacksAsTheReference(t *testing.T) {
	for _, name := range fixtureNames {
		text, err := os.ReadFile(fixtures.Path(t, "fixtures/coreml", filepath.FromSlash(name+".values.json")))
		if os.IsNotExist(err) {
			continue // nothing in it is packed
		}
		var want []struct {
			Name, SHA256 string
			Shape        []int64
		}
		if err := json.Unmarshal(text, &want); err != nil || len(want) == 0 {
			t.Fatalf("%s: %d values, error %v", name, len(want), err)
		}
		views := quant.Views(openFixture(t, name))
		for _, w := range want {
			i := slices.IndexFunc(views, func(v quant.View) bool { return v.Name == w.Name })
			if n, _ := formats.Elements(w.Shape); n < 64 {
				continue // too small for a family
			}
			if i < 0 {
				t.Errorf("%s: no view %q", name, w.Name)
				continue
			}
			if got := numbers(t, &views[i]); got != w.SHA256 || !slices.Equal(views[i].Shape, w.Shape) {
				t.Errorf("%s: %q by %s %v has other numbers than the reference's %v", name, w.Name, views[i].Scheme, views[i].Shape, w.Shape)
			}
		}
	}
}

func numbers(t *testing.T, v *quant.View) string {
	t.Helper()
	r, err := v.Reader()
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	row := make([]float32, v.Cols)
	for i := range v.Rows {
		if err := r.ReadRows(row, i, 1); err != nil {
			t.Fatal(err)
		}
		for _, x := range row {
			h.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(x)))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func entry(key string, v proto) proto { return proto{}.Text(1, key).Bytes(2, v) }

func valueOf(dtype uint64, dims ...uint64) proto {
	typ := proto{}.Varint(1, dtype).Varint(2, uint64(len(dims)))
	for _, d := range dims {
		typ = typ.Bytes(3, proto{}.Bytes(1, proto{}.Varint(1, d)))
	}
	return proto{}.Bytes(2, proto{}.Bytes(1, typ))
}

func (p programOf) bytes() []byte {
	var block proto
	for _, op := range p {
		block = block.Bytes(3, op)
	}
	f := entry("main", proto{}.Bytes(3, entry("CoreML8", block)))
	return proto{}.Varint(1, 8).Bytes(2, proto{}.Text(1, "")).Bytes(502, proto{}.Varint(1, 1).Bytes(2, f))
}

type programOf []proto

func constant(name string, v proto) proto {
	return proto{}.Text(1, "const").Bytes(3, proto{}.Text(1, name)).Bytes(5, entry("val", v))
}

func inFile(name string, offset uint64) proto {
	return proto{}.Bytes(5, proto{}.Text(1, name).Varint(2, offset))
}

// smallProgram has a blob of each of the first two arrays, and floats in the message.
func smallProgram() []byte {
	return programOf{
		constant("w", valueOf(10, 2, 35).Join(inFile("@model_path/weights/weight.bin", 64))),
		constant("b", valueOf(11, 3).Join(inFile("@model_path/weights/weight.bin", 320))),
		constant("c", valueOf(11, 2).Bytes(3, proto{}.Bytes(1, proto{}.Bytes(1, proto{}.Bytes(1, []byte("12345678")))))),
	}.bytes()
}

func smallNetwork() []byte {
	floats := proto{}.Bytes(1, make([]byte, 24))
	codes := proto{}.Bytes(30, []byte{0x12, 0x34, 0x50}).Bytes(40, proto{}.Varint(1, 4).Bytes(101, proto{}.Bytes(1, make([]byte, 8)).Bytes(2, make([]byte, 8))))
	dense := proto{}.Varint(1, 3).Varint(2, 2).Bytes(20, floats).Bytes(21, proto{}.Bytes(1, make([]byte, 8)))
	packed := proto{}.Varint(1, 2).Varint(2, 2).Bytes(20, codes)
	net := proto{}.Bytes(1, proto{}.Text(1, "dense").Bytes(140, dense)).Bytes(1, proto{}.Text(1, "packed").Bytes(140, packed))
	return proto{}.Varint(1, 4).Bytes(2, proto{}.Text(1, "")).Bytes(500, net)
}

func modelCorpus() []formatstest.Case {
	return []formatstest.Case{
		{Name: "program", Data: smallProgram(), Folder: modelFolder(), Tensors: 4},
		{Name: "network", Data: smallNetwork(), Tensors: 5, Open: true},
		{Name: "pipeline", Data: proto{}.Varint(1, 4).Bytes(2, nil).Bytes(202, proto{}.Bytes(1, smallNetwork()).Text(2, "net")), Tensors: 5, Open: true},
	}
}

func modelFolder() formatstest.Folder {
	return formatstest.Folder{"model.mlmodel": smallProgram(), "weights/weight.bin": weights()}
}

func TestModelConformance(t *testing.T) { formatstest.Run(t, ModelDecoder{}, modelCorpus()) }

func FuzzModel(f *testing.F) { formatstest.Fuzz(f, ModelDecoder{}, modelCorpus()) }

func decodeIn(t *testing.T, dir formatstest.Folder) *formats.Model {
	t.Helper()
	m, err := formatstest.Check(t, ModelDecoder{}, dir.Source("model.mlmodel"), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func codesOf(m *formats.Model) (out []string) {
	for _, f := range m.Findings {
		out = append(out, fmt.Sprint(f.Code, " ", f.Severity))
	}
	return out
}

// What of the weights no value of the program tells is listed too, and told.
func TestBlobsWithoutName(t *testing.T) {
	m := decodeIn(t, modelFolder())
	if got := codesOf(m); !slices.Equal(got, []string{"coreml.unnamed warning"}) {
		t.Errorf("findings %v", m.Findings)
	}
	if last := m.Tensors[len(m.Tensors)-1]; last.Name != "blob 2" || last.Member != "weights/weight.bin" {
		t.Errorf("last tensor %+v", last)
	}
}

func TestHostileNames(t *testing.T) {
	for name, want := range map[string]string{
		"@model_path/../weight.bin":   "coreml.name danger",
		"/etc/passwd":                 "coreml.name danger",
		"@model_path/a\\..\\w":        "coreml.name danger",
		"@model_path/weights/gone":    "coreml.file unread",
		"@model_path/weights/model.x": "coreml.file unread",
	} {
		dir := modelFolder()
		dir["model.mlmodel"] = programOf{constant("w", valueOf(11, 3).Join(inFile(name, 64)))}.bytes()
		m := decodeIn(t, dir)
		if got := codesOf(m); !slices.Contains(got, want) || len(m.Tensors) != 1 || m.Tensors[0].Data.Source != nil {
			t.Errorf("%q: findings %v, tensors %+v", name, got, m.Tensors)
		}
	}
}

func TestOtherOddities(t *testing.T) {
	blobs := "@model_path/weights/weight.bin"
	for name, c := range map[string]struct {
		op   proto
		want string
	}{
		"no record at the offset": {constant("w", valueOf(11, 3).Join(inFile(blobs, 128))), "coreml.blob unread"},
		"an offset far away":      {constant("w", valueOf(11, 3).Join(inFile(blobs, 1<<63))), "coreml.blob unread"},
		"another type":            {constant("w", valueOf(23, 3).Join(inFile(blobs, 320))), "coreml.type warning"},
		"another size":            {constant("w", valueOf(11, 4).Join(inFile(blobs, 320))), "coreml.size warning"},
		"an unknown size":         {constant("w", proto{}.Bytes(2, proto{}.Bytes(1, proto{}.Varint(1, 11).Bytes(3, proto{}.Bytes(2, nil)))).Join(inFile(blobs, 320))), "coreml.size warning"},
	} {
		dir := modelFolder()
		dir["model.mlmodel"] = programOf{c.op}.bytes()
		if got := codesOf(decodeIn(t, dir)); !slices.Contains(got, c.want) {
			t.Errorf("%s: findings %v", name, got)
		}
	}
}

// A const that an unpacking operator refers to plays the part of its parameter.
func TestPartsByReference(t *testing.T) {
	dir := modelFolder()
	input := func(key, name string) proto {
		return proto{}.Text(1, key).Bytes(2, proto{}.Bytes(1, proto{}.Text(1, name)))
	}
	dir["model.mlmodel"] = programOf{
		constant("anything", valueOf(11, 3).Join(inFile("@model_path/weights/weight.bin", 320))),
		proto{}.Text(1, "constexpr_blockwise_shift_scale").Bytes(2, input("scale", "anything")).Bytes(3, proto{}.Text(1, "w")),
	}.bytes()
	if m := decodeIn(t, dir); m.Tensors[0].Name != "w.scale" {
		t.Errorf("tensors %+v", m.Tensors)
	}
}

func TestNoModel(t *testing.T) {
	for name, data := range map[string][]byte{"another message": proto{}.Varint(1, 4).Text(2, "x"), "a network of nothing": proto{}.Varint(1, 4).Bytes(2, nil).Bytes(500, nil)} {
		if m, err := formatstest.Check(t, ModelDecoder{}, formats.BytesSource(data), formats.Limits{}); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}
