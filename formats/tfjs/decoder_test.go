package tfjs

import (
	"errors"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/formatstest"
)

const manifest = `{"format":"graph-model","modelTopology":{"node":[{"a":[[]]}]},"weightsManifest":[{"paths":["g1.bin","g2.bin"],"weights":[` +
	`{"name":"a","shape":[3],"dtype":"float32"},{"name":"q","shape":[2,2],"dtype":"float32","quantization":{"min":-1.5,"scale":0.1,"dtype":"uint8"}},` +
	`{"name":"s","shape":[],"dtype":"int32"}]},{"weights":[{"name":"b","shape":[4],"dtype":"bool"}],"paths":["g3.bin"]}]}`

func arrays() []formatstest.Array {
	return []formatstest.Array{formatstest.Counting("a", formats.F32, 1, 3), formatstest.Counting("q", formats.U8, 2, 2, 2),
		formatstest.Counting("s", formats.I32, 3), formatstest.Counting("b", formats.Bool, 4, 4)}
}

// folder cuts the first group inside of its first tensor.
func folder() formatstest.Folder {
	a := arrays()
	first := append(append(append([]byte{}, a[0].Data...), a[1].Data...), a[2].Data...)
	return formatstest.Folder{"g1.bin": first[:7], "g2.bin": first[7:], "g3.bin": a[3].Data}
}

func corpus() []formatstest.Case {
	return []formatstest.Case{{Name: "model", Data: []byte(manifest), Folder: folder(), Tensors: 4}}
}

func TestConformance(t *testing.T) { formatstest.Run(t, Decoder{}, corpus()) }

func FuzzDecoder(f *testing.F) { formatstest.Fuzz(f, Decoder{}, corpus()) }

func TestModel(t *testing.T) {
	for _, c := range []struct {
		name, text string
		change     func(formatstest.Folder)
		tensors    int
		codes      string
	}{
		{"good", manifest, nil, 4, ""},
		{"a file is gone", manifest, func(d formatstest.Folder) { delete(d, "g3.bin") }, 4, "file"},
		{"a file is short", manifest, func(d formatstest.Folder) { d["g3.bin"] = []byte{1} }, 4, "truncated"},
		{"a file is long", manifest, func(d formatstest.Folder) { d["g3.bin"] = make([]byte, 9) }, 4, "rest"},
		{"a way out", strings.Replace(manifest, "g3.bin", "../g3.bin", 1), nil, 4, "name"},
		{"text", strings.Replace(manifest, `"dtype":"bool"`, `"dtype":"string"`, 1), nil, 4, "dtype"},
		{"impossible shape", strings.Replace(manifest, `[4]`, `[-4]`, 1), nil, 4, "dtype"},
		{"cut", manifest[:len(manifest)-30], nil, 3, "manifest"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := folder()
			dir["m.json"] = []byte(c.text)
			if c.change != nil {
				c.change(dir)
			}
			m, err := formatstest.Check(t, Decoder{}, dir.Source("m.json"), formats.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var codes []string
			for _, f := range m.Findings {
				codes = append(codes, strings.TrimPrefix(f.Code, "tfjs."))
			}
			if len(m.Tensors) != c.tensors || strings.Join(codes, " ") != c.codes {
				t.Errorf("%d tensors, findings %v; want %q", len(m.Tensors), m.Findings, c.codes)
			}
			if c.codes == "" {
				formatstest.Same(t, m, arrays())
			}
		})
	}
}

func TestOtherJSON(t *testing.T) {
	for _, text := range []string{`{}`, `{"modelTopology":{}}`, `{"weightsManifest":3}`, `[1]`, ``, `{"modelTopology":{`} {
		if m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(text), formats.Limits{}); !errors.Is(err, formats.ErrNotRecognized) {
			t.Errorf("%q: %v, %v", text, m, err)
		}
	}
}
