package all_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/file"
	"weightwarden/formats/formatstest"
	"weightwarden/internal/fixtures"
)

// A safetensors header of 640 bytes starts like a pickle of protocol 2, and is none.
func TestLikeness(t *testing.T) {
	header := `{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`
	data := formatstest.SafetensorsRaw(header+strings.Repeat(" ", 640-len(header)), []byte("abcd"))
	m, err := all.Decoders().Decode(t.Context(), formats.BytesSource(data), formats.Limits{})
	if err != nil || m.Format != "safetensors" || len(m.Tensors) != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	for _, f := range m.Findings {
		if f.Severity != formats.Info {
			t.Errorf("%+v", f)
		}
	}
}

// What stands behind an archive of compressed members is looked at as well, and an archive with a member that is not
// compressed, whose parts are files of their own, is opened no more than twice: by the decoder of PyTorch's and as an archive.
func TestBehindAndWithinArchives(t *testing.T) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 300 {
		e, err := w.CreateHeader(&zip.FileHeader{Name: fmt.Sprint(i), Method: []uint16{zip.Store, zip.Deflate}[min(i, 1)]})
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 { // too little for a weight matrix, and not to be compressed much
			fmt.Fprintln(e, r.Uint64())
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	model := formatstest.SafetensorsRaw(`{"w":{"dtype":"U8","shape":[70000],"data_offsets":[0,70000]}}  `, make([]byte, 70000))
	m, err := all.Decoders().Decode(t.Context(), formats.BytesSource(slices.Concat(buf.Bytes(), model)), formats.Limits{})
	if err != nil || len(m.Tensors) != 1 {
		t.Errorf("behind an archive: %+v, %v", m, err)
	}
	src := &counting{BytesSource: buf.Bytes()}
	if _, err := all.Decoders().Decode(t.Context(), src, formats.Limits{}); err != nil {
		t.Fatal(err)
	}
	if most := int64(4 * buf.Len()); src.read > most {
		t.Errorf("%d bytes were read of an archive of %d", src.read, buf.Len())
	}
}

// counting counts the bytes that are read.
type counting struct {
	formats.BytesSource
	read int64
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	c.read += int64(len(p))
	return c.BytesSource.ReadAt(p, off)
}

// Every malformed file ends as its manifest says: in an error, or in a model with
// the tensors that can be had, which says what is odd about it; "either" allows
// both, and silence where a reader need not mind.
func TestMalformedFiles(t *testing.T) {
	text, err := os.ReadFile(fixtures.Path(t, "malformed", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		File, Case, Outcome string
		Tensors             []string
	}
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) == 0 {
		t.Fatalf("%d cases, error %v", len(cases), err)
	}
	for _, c := range cases {
		t.Run(c.File, func(t *testing.T) {
			src, err := file.Open(fixtures.Path(t, "malformed", c.File))
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			m, err := all.Decoders().Decode(t.Context(), src, formats.Limits{})
			switch {
			case (m == nil) == (err == nil):
				t.Fatalf("model %v, error %v", m, err)
			case c.Outcome == "error" && err == nil:
				t.Errorf("%s: a model with findings %v", c.Case, m.Findings)
			case c.Outcome == "finding" && err != nil:
				t.Errorf("%s: %v", c.Case, err)
			case c.Outcome == "finding" && len(m.Findings) == 0:
				t.Errorf("%s: not a word about it", c.Case)
			}
			if err != nil {
				return
			}
			for _, name := range c.Tensors {
				if !slices.ContainsFunc(m.Tensors, func(x formats.Tensor) bool { return x.Name == name }) {
					t.Errorf("%s: tensor %q is missing", c.Case, name)
				}
			}
		})
	}
}
