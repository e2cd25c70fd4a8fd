// Package ingest takes hits from agents: it bounds and checks them, rates them,
// and stores them before it answers.
package ingest

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"weightwarden/internal/api"
)

// Bounds of what one hit may carry.
const (
	MaxBatch    = 1000
	maxString   = 64 << 10
	maxName     = 255 // host, user, model
	maxArgs     = 64
	maxChain    = 16
	maxEvidence = 256
	maxTensors  = 1000
	maxOthers   = 64
)

// Check returns why a hit can never be stored, or nil. agent is whose certificate
// it came with. A future time is no reason: clocks are wrong and the hit is real.
func Check(agent string, h *api.Hit) error {
	v := &h.Verdict
	switch {
	case h.AgentID != agent:
		return fmt.Errorf("hit of agent %.60q, sent by %.60q", h.AgentID, agent)
	case h.Epoch == "" || len(h.Epoch) > 64:
		return fmt.Errorf("epoch of %d bytes", len(h.Epoch))
	case h.Seq < 1 || h.Seq > math.MaxInt64:
		return fmt.Errorf("sequence number %d", h.Seq)
	case h.ObservedAt.IsZero() || h.ObservedAt.Before(time.Unix(0, 0)) || h.ObservedAt.Year() > 9999:
		return fmt.Errorf("observed at %s", h.ObservedAt)
	case !known(v.Verdict):
		return fmt.Errorf("verdict %.40q", v.Verdict)
	case v.Verdict.IsHit() && v.Model == "":
		return fmt.Errorf("verdict %s without a model", v.Verdict)
	case v.Size < 0:
		return fmt.Errorf("size %d", v.Size)
	}
	return nil
}

func known(w api.Word) bool {
	return w.IsHit() || w == api.PublicBase || w == api.NoMatch || w == api.Inconclusive
}

// Clean bounds every list and string of a hit and makes the strings valid UTF-8
// without NUL, which PostgreSQL could not keep.
func Clean(h *api.Hit) {
	for _, s := range []*string{&h.Event, &h.Host.Name, &h.Host.OS, &h.Host.Arch, &h.Host.Kernel, &h.Host.BootID, &h.Host.Machine, &h.Host.Platform,
		&h.ProcessNote, &h.User.Name, &h.User.From, &h.Destination.Class, &h.Destination.Mount, &h.Destination.Filesystem, &h.Destination.Device,
		&h.Destination.Vendor, &h.Destination.Product, &h.Destination.Serial, &h.Destination.Detail, &h.PreviousPath, &h.FileID, &h.Action} {
		clean(s)
	}
	cleanVerdict(&h.Verdict)
	// These are searched and grouped by: longer ones are no names.
	for _, s := range []*string{&h.Host.Name, &h.User.Name, &h.Verdict.Model, &h.Verdict.ModelVersion, &h.Verdict.Kind} {
		cutTo(s, maxName)
	}
	cutTo(&h.Destination.Class, 32)
	if h.Destination.Class == "" {
		h.Destination.Class = "unknown"
	}
	if h.Process != nil {
		cleanProcess(h.Process)
		h.Process.Ancestors = h.Process.Ancestors[:min(len(h.Process.Ancestors), maxChain)]
		for i := range h.Process.Ancestors {
			cleanProcess(&h.Process.Ancestors[i])
			h.Process.Ancestors[i].Ancestors = nil
		}
	}
}

func cleanVerdict(v *api.Verdict) {
	for _, s := range []*string{&v.Path, &v.Format, &v.Model, &v.ModelVersion, &v.Kind, &v.Sentence, &v.Registry} {
		clean(s)
	}
	v.Evidence = v.Evidence[:min(len(v.Evidence), maxEvidence)]
	for i := range v.Evidence {
		clean(&v.Evidence[i].Text)
		clean(&v.Evidence[i].Kind)
	}
	v.Findings = v.Findings[:min(len(v.Findings), maxEvidence)]
	for i := range v.Findings {
		clean(&v.Findings[i].Text)
		clean(&v.Findings[i].Code)
	}
	v.Others = v.Others[:min(len(v.Others), maxOthers)]
	v.Tensors = v.Tensors[:min(len(v.Tensors), maxTensors)]
	for i := range v.Tensors {
		clean(&v.Tensors[i].Suspect)
		clean(&v.Tensors[i].Registered)
	}
	if d := v.Digests; d != nil {
		clean(&d.Content)
		clean(&d.BLAKE3)
		clean(&d.SHA256)
	}
	for _, f := range []*float64{&v.Coverage.Bytes, &v.Coverage.Tensors, &v.Coverage.Parameters} {
		*f = min(max(*f, 0), 1)
	}
}

func cleanProcess(p *api.Process) {
	for _, s := range []*string{&p.Name, &p.Exe, &p.ExeBLAKE3, &p.Cwd, &p.TTY, &p.Container, &p.Cgroup, &p.Remote, &p.Certainty} {
		clean(s)
	}
	p.Args = p.Args[:min(len(p.Args), maxArgs)]
	for i := range p.Args {
		clean(&p.Args[i])
	}
}

func cutTo(s *string, n int) {
	if len(*s) > n {
		*s = strings.ToValidUTF8((*s)[:n], "")
	}
}

func clean(s *string) {
	if len(*s) > maxString {
		*s = (*s)[:maxString]
	}
	if !utf8.ValidString(*s) || strings.ContainsRune(*s, 0) {
		*s = strings.ReplaceAll(strings.ToValidUTF8(*s, "\uFFFD"), "\x00", "\uFFFD")
	}
}

// Severity rates a hit from 1 (critical) to 4 (low) by the tier of the model (1 to
// 4, 0 unknown), what was found and where it went. docs/operations.md has the table.
func Severity(h *api.Hit, tier int) int {
	if h.Verdict.Kind == api.KindPublic || !h.Verdict.Verdict.IsHit() {
		return 4
	}
	s := tier
	if s == 0 {
		s = 2 // nobody has rated the model: assume that it matters
	}
	switch h.Verdict.Verdict {
	case api.Reparameterised:
		s++ // for review
	case api.Partial:
		if h.Verdict.Coverage.Bytes < 0.05 {
			s++
		}
	}
	if leaves(h.Destination.Class) {
		s--
	}
	return min(max(s, 1), 4)
}

// leaves reports whether a destination takes the file off the machine.
func leaves(class string) bool {
	switch class {
	case "removable", "network", "cloud_sync", "fuse_remote", "git_remote":
		return true
	}
	return false
}
