// Command oracle lists the tensors of model files as JSON, one object a line, for
// the cross-checks of testdata/gen/oracle.py with the formats' own libraries.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/file"
)

type line struct {
	File    string             `json:"file"`
	Format  string             `json:"format"`
	Finding *formats.Finding   `json:"finding,omitempty"`
	Meta    []formats.KeyValue `json:"metadata,omitempty"`
	Name    string             `json:"name"`
	Member  string             `json:"member,omitempty"`
	DType   string             `json:"dtype,omitempty"`
	Shape   []int64            `json:"shape"`
	Bytes   int64              `json:"bytes"`
	SHA256  string             `json:"sha256,omitempty"`
	Error   string             `json:"error,omitempty"`
}

func main() {
	out := json.NewEncoder(os.Stdout)
	for _, path := range os.Args[1:] {
		if err := list(path, out); err != nil {
			fmt.Fprintln(os.Stderr, path+":", err)
			os.Exit(1)
		}
	}
}

func list(path string, out *json.Encoder) error {
	src, err := file.Open(path)
	if err != nil {
		return err
	}
	defer src.Close()
	m, err := all.Decoders().Decode(context.Background(), src, formats.Limits{})
	if err != nil {
		return out.Encode(line{File: path, Error: err.Error()})
	}
	if err := out.Encode(line{File: path, Format: string(m.Format), Meta: m.Metadata}); err != nil {
		return err
	}
	for i := range m.Findings {
		if err := out.Encode(line{File: path, Format: string(m.Format), Finding: &m.Findings[i]}); err != nil {
			return err
		}
	}
	for i := range m.Tensors {
		t := &m.Tensors[i]
		l := line{File: path, Format: string(m.Format), Name: t.Name, Member: t.Member, DType: t.DType.String(), Shape: t.Shape, Bytes: t.Data.Length}
		h := sha256.New()
		r, err := t.Reader()
		if err == nil {
			_, err = io.Copy(h, r)
		}
		if l.SHA256 = hex.EncodeToString(h.Sum(nil)); err != nil {
			l.Error, l.SHA256 = err.Error(), ""
		}
		if err := out.Encode(l); err != nil {
			return err
		}
	}
	return nil
}
