// Package judge turns the bytes of a file into a verdict: bytes -> formats.Decode
// -> fingerprint.Compute -> registry match -> api.Verdict. fpcheck, fpagent and
// fpserver judge with the same code, so that they say the same.
//
// It never turns silence into "clean": a file of which something could hide
// weights and was not read is INCONCLUSIVE unless what was read matches.
package judge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weightwarden/fingerprint"
	"weightwarden/formats"
	"weightwarden/internal/api"
)

// ModelDecoder lists the tensors of a file. formats.Decoders is one; an agent may
// hand in one that runs in a process of its own.
type ModelDecoder interface {
	Decode(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error)
}

// ErrNoDecoder is wrapped by the error of a ModelDecoder that could not work at
// all, whatever the file holds. Such a file is not judged: without its structure
// a verdict would say less than it seems to.
var ErrNoDecoder = errors.New("no decoder could be run")

// Matcher is a registry: it compares a fingerprint with everything registered and
// returns what matched, best first. *index.DB is one.
type Matcher interface {
	// MatchFile matches f. m is what f was computed from, nil where no decoder read it; parts
	// that were fused, split or disguised are then looked for again, and in bytes that are no tensor's.
	MatchFile(ctx context.Context, f *fingerprint.Fingerprint, m *formats.Model, opt fingerprint.Options) ([]fingerprint.Match, error)
	// Fingerprint returns the fingerprint of a registered artifact, or false.
	Fingerprint(model, version, artifact string) (*fingerprint.Fingerprint, bool)
}

// Judge judges files against one registry. Its fields are set before use and not
// changed after; it may then be used concurrently.
type Judge struct {
	Decoder  ModelDecoder
	Matcher  Matcher
	Registry string           // what the registry is called in verdicts
	Key      *fingerprint.Key // nil: the public key
	Limits   formats.Limits   // zero: the defaults
	Jobs     int              // cores for one file, 0 for all
	// FileDigests adds the digests of the whole file to every full verdict; without it
	// only hits get them, at the price of one more read.
	FileDigests bool
	// Progress is told of bytes read; nil for none.
	Progress func(bytes int64)
}

// Subject is one file, or one set of files, after everything that can be said
// without a registry.
type Subject struct {
	Size        int64
	Model       *formats.Model // nil: no decoder reads the file
	Decoding    error          // why Model is nil
	Fingerprint *fingerprint.Fingerprint
	Findings    []api.Finding
	Quick       bool // only sampled rows were read
	Set         bool // several files, joined

	started time.Time
	lean    bool // the fingerprint is fingerprint.Options.Lean
}

// Judge implements api.Judge. The error is that of ctx, of the registry, or of a
// source that cannot be read at all.
func (j *Judge) Judge(ctx context.Context, file api.File, quick bool) (*api.Verdict, error) {
	s, err := j.Examine(ctx, file, quick)
	if err != nil {
		return nil, err
	}
	return j.Verdict(ctx, s, file)
}

// Examine decodes and fingerprints src. quick asks for a look at sampled rows
// only; a file that this cannot judge is read in whole all the same.
func (j *Judge) Examine(ctx context.Context, src formats.Source, quick bool) (*Subject, error) {
	s := &Subject{Size: src.Size(), started: time.Now()}
	s.Model, s.Decoding = j.Decoder.Decode(ctx, src, j.Limits)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if errors.Is(s.Decoding, ErrNoDecoder) {
		return nil, s.Decoding
	}
	s.Findings = findings(s.Model, s.Decoding, s.Size)
	if err := j.compute(ctx, s, src, quick); err != nil {
		return nil, err
	}
	for _, note := range s.Fingerprint.Notes {
		s.Findings = append(s.Findings, api.Finding{Code: "fingerprint.note", Severity: string(formats.Info), Text: note, Offset: -1})
	}
	if n := s.Fingerprint.UnreadBytes; n > 0 {
		s.Findings = append(s.Findings, api.Finding{Code: "bytes.unread", Severity: string(formats.Unread), Offset: -1,
			Text: fmt.Sprintf("%d bytes that the file should have could not be read", n)})
	}
	return s, nil
}

// leanFrom is the size from which a file is first read lean, see
// fingerprint.Options.
const leanFrom = 64 << 20

func (j *Judge) compute(ctx context.Context, s *Subject, src formats.Source, quick bool) error {
	opt := fingerprint.Options{Key: j.Key, Jobs: j.Jobs, Progress: j.Progress, Quick: quick && s.Model != nil}
	// A part of the work is enough to see whether a large file matches at all; on a
	// small one it saves nothing and might leave too little to see.
	lean := s.Size >= leanFrom
	opt.Lean = !opt.Quick && lean
	f, err := fingerprint.Compute(ctx, src, s.Model, opt)
	if err == nil && opt.Quick && !sketched(f) {
		opt.Quick, opt.Lean = false, lean // nothing to sample in it: only a full read can tell
		f, err = fingerprint.Compute(ctx, src, s.Model, opt)
	}
	s.Fingerprint, s.Quick, s.lean = f, opt.Quick, opt.Lean
	return err
}

// enrich makes the fingerprint of a subject whole, for the evidence: until
// something matched, a part of the work was enough.
func (j *Judge) enrich(ctx context.Context, s *Subject, src formats.Source) error {
	f, err := fingerprint.Compute(ctx, src, s.Model, fingerprint.Options{Key: j.Key, Jobs: j.Jobs, Progress: j.Progress})
	if err != nil {
		return err
	}
	f.BytesRead += s.Fingerprint.BytesRead
	s.Fingerprint, s.lean = f, false
	return nil
}

// match asks the registry, a second time with the whole fingerprint if the first
// one found something.
func (j *Judge) match(ctx context.Context, s *Subject, src formats.Source) ([]fingerprint.Match, error) {
	opt := fingerprint.Options{Key: j.Key, Jobs: j.Jobs, Progress: j.Progress, Quick: s.Quick}
	matches, err := j.Matcher.MatchFile(ctx, s.Fingerprint, s.Model, opt)
	if err != nil || len(matches) == 0 || !s.lean || src == nil {
		return matches, err
	}
	if err := j.enrich(ctx, s, src); err != nil {
		return nil, err
	}
	return j.Matcher.MatchFile(ctx, s.Fingerprint, s.Model, opt)
}

// sketched reports whether every tensor that could be evidence has row sketches:
// then sampled rows are enough to judge.
func sketched(f *fingerprint.Fingerprint) bool {
	some := false
	for i := range f.Tensors {
		some = some || f.Tensors[i].Sketch != nil
	}
	return some && f.UnreadBytes == 0
}

// findings collects what decoding said about the file itself.
func findings(m *formats.Model, decoding error, size int64) []api.Finding {
	out := []api.Finding{}
	if m != nil {
		for _, f := range m.Findings {
			out = append(out, api.Finding{Code: f.Code, Severity: string(f.Severity), Text: f.Text, Offset: f.Offset})
		}
		return out
	}
	switch {
	case size == 0:
		out = append(out, api.Finding{Code: "file.empty", Severity: string(formats.Info), Text: "the file is empty", Offset: -1})
	case decoding == nil || errors.Is(decoding, formats.ErrNotRecognized):
		out = append(out, api.Finding{Code: "format.unknown", Severity: string(formats.Info), Offset: -1,
			Text: "no decoder reads this file: registered weights are found in it where they are unchanged, or lie one behind another as plain numbers"})
	case errorOffset(decoding) == noOffset:
		out = append(out, api.Finding{Code: "file.unreadable", Severity: string(formats.Unread), Offset: -1,
			Text: "the file cannot be read in whole: " + decoding.Error()})
	default:
		out = append(out, api.Finding{Code: "format.unreadable", Severity: string(formats.Unread), Offset: errorOffset(decoding),
			Text: "the file looks like a model but cannot be read as one: " + decoding.Error()})
	}
	return out
}

// noOffset means an error that is not a decoder's.
const noOffset = -2

func errorOffset(err error) int64 {
	var e *formats.Error
	if errors.As(err, &e) {
		return max(e.Offset, -1)
	}
	return noOffset
}

// Unread reports whether something that could hide weights was not read.
func (s *Subject) Unread() bool {
	for _, f := range s.Findings {
		if f.Severity == string(formats.Unread) {
			return true
		}
	}
	return s.Fingerprint.UnreadBytes > 0
}

// Format is the format in output: the decoder's name, or "unknown".
func (s *Subject) Format() string {
	if s.Set {
		return s.Fingerprint.Format
	}
	if s.Model == nil {
		return "unknown"
	}
	return string(s.Model.Format)
}

// Verdict matches s against the registry. src, when it is not nil, is read once
// more for the digests of a hit.
func (j *Judge) Verdict(ctx context.Context, s *Subject, src formats.Source) (*api.Verdict, error) {
	matches, err := j.match(ctx, s, src)
	if err != nil {
		return nil, err
	}
	v := s.verdict(matches, j.Matcher)
	v.Registry = j.Registry
	if src != nil && !s.Quick && (v.Verdict.IsHit() || j.FileDigests) {
		d, err := fingerprint.DigestFile(ctx, src, j.Progress)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil: // the verdict stands without
			v.Findings = append(v.Findings, api.Finding{Code: "digests.unread", Severity: string(formats.Warning), Offset: -1,
				Text: "the digests of the whole file could not be computed: " + err.Error()})
		default:
			v.BytesRead += src.Size()
			v.Digests = digests(s, d)
		}
	}
	v.Seconds = time.Since(s.started).Seconds()
	return v, nil
}

func digests(s *Subject, d *fingerprint.FileDigests) *api.Digests {
	out := &api.Digests{BLAKE3: d.BLAKE3.String(), SHA256: d.SHA256.String()}
	if c := s.Fingerprint.Content(); c != (fingerprint.Digest{}) {
		out.Content = c.String()
	}
	return out
}
