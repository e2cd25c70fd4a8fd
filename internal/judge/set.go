package judge

import (
	"errors"
	"time"

	"weightwarden/fingerprint"
	"weightwarden/formats"
	"weightwarden/internal/api"
)

// ErrMixed means fingerprints of different schemes or keys, which cannot be
// joined.
var ErrMixed = errors.New("fingerprints of different schemes or keys cannot be joined")

// Join makes one fingerprint of those of several files: the shards of a set, or
// parts that a copy was split into. Invariants that need tensors of two files are
// not recomputed; the union of what each file shows is kept.
func Join(format string, parts []*fingerprint.Fingerprint) (*fingerprint.Fingerprint, error) {
	if len(parts) == 0 {
		return nil, errors.New("nothing to join")
	}
	out := &fingerprint.Fingerprint{Scheme: parts[0].Scheme, KeyID: parts[0].KeyID, Format: format, Registered: true}
	for _, f := range parts {
		if f.Scheme != out.Scheme || f.KeyID != out.KeyID {
			return nil, ErrMixed
		}
		files, pieces := len(out.Files), len(out.Pieces)
		out.Files = append(out.Files, f.Files...)
		for _, p := range f.Pieces {
			p.File += files
			out.Pieces = append(out.Pieces, p)
		}
		for _, t := range f.Tensors {
			moved := make([]int, len(t.Pieces))
			for i, p := range t.Pieces {
				moved[i] = p + pieces
			}
			t.Pieces = moved
			out.Tensors = append(out.Tensors, t)
		}
		out.Layers = append(out.Layers, f.Layers...)
		out.Loose = append(out.Loose, f.Loose...)
		out.Registered = out.Registered && f.Registered
		out.Size += f.Size
		out.BytesRead += f.BytesRead
		out.UnreadBytes += f.UnreadBytes
	}
	return out, nil
}

// JoinSubjects makes one subject of a set of files that were examined one by one.
func JoinSubjects(parts []*Subject) (*Subject, error) {
	out := &Subject{started: time.Now(), Findings: []api.Finding{}}
	var prints []*fingerprint.Fingerprint
	var models []*formats.Model
	format := "unknown"
	for _, s := range parts {
		prints = append(prints, s.Fingerprint)
		out.Size += s.Size
		out.Quick = out.Quick || s.Quick
		out.Findings = append(out.Findings, s.Findings...)
		models = append(models, s.Model)
		if s.Model != nil {
			format = string(s.Model.Format)
		}
	}
	f, err := Join("set("+format+")", prints)
	if err != nil {
		return nil, err
	}
	if format != "unknown" {
		out.Model = formats.Join(formats.ID(format), models)
	}
	out.Fingerprint, out.Set = f, true
	return out, nil
}
