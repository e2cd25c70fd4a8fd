package lfs_test

import (
	"errors"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/archive/lfs"
	"weightwarden/formats/formatstest"
)

const (
	oid     = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
	pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + oid + "\nsize 12345\n"
)

func TestParse(t *testing.T) {
	p, err := lfs.Parse([]byte(pointer))
	if err != nil || p.Size != 12345 || p.SHA256 != oid || p.Object() != ".git/lfs/objects/4d/7a/"+oid {
		t.Fatalf("%+v, %v", p, err)
	}
	for name, tc := range map[string]struct {
		text string
		want error
	}{
		"other text":    {"hello", formats.ErrNotRecognized},
		"no size":       {strings.Split(pointer, "size")[0], formats.ErrTruncated},
		"negative size": {strings.Replace(pointer, "12345", "-1", 1), formats.ErrMalformed},
		"path as oid":   {strings.Replace(pointer, oid, "../../etc/passwd", 1), formats.ErrMalformed},
		"short oid":     {strings.Replace(pointer, oid, oid[:10], 1), formats.ErrMalformed},
	} {
		if _, err := lfs.Parse([]byte(tc.text)); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func corpus() []formatstest.Case { return []formatstest.Case{{Name: "pointer", Data: []byte(pointer)}} }

func TestConformance(t *testing.T) { formatstest.Run(t, lfs.Decoder{}, corpus()) }

func FuzzDecode(f *testing.F) { formatstest.Fuzz(f, lfs.Decoder{}, corpus()) }
