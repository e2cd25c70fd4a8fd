// Package ingest takes hits from agents: it bounds and checks them, rates them,
// and stores them before it answers.
package ingest

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"weightwarden/internal/api"
)

// MaxBatch is how many hits come at once.
const MaxBatch = 1000

const maxName = 255 // host, user, model

// MaxMachine bounds the id of a machine, the same at enrolment and in each heartbeat.
const MaxMachine = 128

// limits are what one hit may carry: bytes of a text, and lengths of lists.
type limits struct {
	text, args, chain, evidence, tensors, others, files int
}

// wide is more than agents send. narrow leaves the gist of a hit: what, where, who.
var (
	wide   = limits{text: 64 << 10, args: 64, chain: 16, evidence: 256, tensors: 1000, others: 64, files: 4096}
	narrow = limits{text: 1 << 10, args: 8, chain: 4, evidence: 8, tensors: 0, others: 4, files: 16}
)

// Sizes of a hit as JSON: an agent's has a few KiB, at most some hundred. Cases read
// hundreds of hits at once.
const (
	MaxPlain = 64 << 10 // of a batch in which no hit can become larger than maxHit
	maxHit   = 512 << 10
)

// Check returns why a hit can never be stored, or nil. agent is whose certificate
// it came with. A future time is no reason: clocks are wrong and the hit is real.
func Check(agent string, h *api.Hit) error {
	v := &h.Verdict
	switch {
	case h.AgentID != agent:
		return fmt.Errorf("hit of agent %.60q, sent by %.60q", h.AgentID, agent)
	case h.Epoch == "" || len(h.Epoch) > 64 || strings.ContainsRune(h.Epoch, 0):
		return fmt.Errorf("epoch of %d bytes, or with NUL", len(h.Epoch))
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
	wide.hit(h)
	// These are searched and grouped by: longer ones are no names.
	for _, s := range []*string{&h.Host.Name, &h.User.Name, &h.Verdict.Model, &h.Verdict.ModelVersion, &h.Verdict.Kind} {
		cutTo(s, maxName)
	}
	cutTo(&h.Destination.Class, 32)
	if h.Destination.Class == "" {
		h.Destination.Class = "unknown"
	}
}

// Shorten leaves the gist of a hit that is larger than any agent's.
func Shorten(h *api.Hit) {
	if b, err := json.Marshal(h); err == nil && len(b) > maxHit {
		narrow.hit(h)
	}
}

func (l *limits) hit(h *api.Hit) {
	l.strings(&h.Event, &h.Host.Name, &h.Host.OS, &h.Host.Arch, &h.Host.Kernel, &h.Host.BootID, &h.Host.Machine, &h.Host.Platform,
		&h.ProcessNote, &h.User.Name, &h.User.From, &h.Destination.Class, &h.Destination.Mount, &h.Destination.Filesystem, &h.Destination.Device,
		&h.Destination.Vendor, &h.Destination.Product, &h.Destination.Serial, &h.Destination.Detail, &h.PreviousPath, &h.FileID, &h.Action)
	l.verdict(&h.Verdict)
	if h.Process != nil {
		l.process(h.Process)
		h.Process.Ancestors = first(h.Process.Ancestors, l.chain)
		for i := range h.Process.Ancestors {
			l.process(&h.Process.Ancestors[i])
			h.Process.Ancestors[i].Ancestors = nil
		}
	}
}

func (l *limits) verdict(v *api.Verdict) {
	l.strings(&v.Path, &v.Format, &v.Model, &v.ModelVersion, &v.Artifact, &v.Kind, &v.Sentence, &v.Registry)
	v.Files, v.Evidence, v.Findings = first(v.Files, l.files), first(v.Evidence, l.evidence), first(v.Findings, l.evidence)
	v.Others, v.Tensors = first(v.Others, l.others), first(v.Tensors, l.tensors)
	for i := range v.Files {
		l.strings(&v.Files[i])
	}
	for i := range v.Evidence {
		e := &v.Evidence[i]
		l.strings(&e.Kind, &e.Text, &e.Unit, &e.Bound, &e.Model)
	}
	for i := range v.Findings {
		f := &v.Findings[i]
		l.strings(&f.Code, &f.Severity, &f.Text)
	}
	for i := range v.Others {
		o := &v.Others[i]
		l.strings(&o.Model, &o.ModelVersion, &o.Kind, (*string)(&o.Verdict))
	}
	for i := range v.Tensors {
		t := &v.Tensors[i]
		l.strings(&t.Suspect, &t.Registered, &t.Relation, &t.Transform)
	}
	if d := v.Digests; d != nil {
		l.strings(&d.Content, &d.BLAKE3, &d.SHA256)
	}
	for _, f := range []*float64{&v.Coverage.Bytes, &v.Coverage.Tensors, &v.Coverage.Parameters} {
		*f = min(max(*f, 0), 1)
	}
}

func (l *limits) process(p *api.Process) {
	l.strings(&p.Name, &p.Exe, &p.ExeBLAKE3, &p.Cwd, &p.TTY, &p.Container, &p.Cgroup, &p.Remote, &p.Certainty)
	p.Args = first(p.Args, l.args)
	for i := range p.Args {
		l.strings(&p.Args[i])
	}
}

func (l *limits) strings(list ...*string) {
	for _, s := range list {
		*s = Text(*s, l.text)
	}
}

func first[T any](list []T, n int) []T { return list[:min(len(list), n)] }

func cutTo(s *string, n int) { *s = Text(*s, n) }

// Text is a text of at most n bytes that every database keeps: whole runes, no NUL.
func Text(s string, n int) string {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	}
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return s
}

// Bounds of what one heartbeat may carry; agents tell less.
const (
	maxPlaces  = 1000 // that are watched
	maxTold    = 256  // gaps, and conditions
	maxDetail  = 1 << 10
	maxWatched = 4 << 10 // of a path
	maxCount   = 1 << 40 // of anything that is added up over a fleet
)

// CleanHeartbeat bounds every list, string and number of a heartbeat.
func CleanHeartbeat(hb *api.Heartbeat) {
	hb.Version = Text(hb.Version, 64)
	hb.Host.Machine = Text(hb.Host.Machine, MaxMachine)
	for _, s := range []*string{&hb.Epoch, &hb.Host.Name, &hb.Host.OS, &hb.Host.Arch, &hb.Host.Kernel, &hb.Host.BootID, &hb.Host.Platform} {
		*s = Text(*s, maxName)
	}
	hb.Watches = first(hb.Watches, maxPlaces)
	for i := range hb.Watches {
		w := &hb.Watches[i]
		w.Path, w.Tier, w.State, w.Detail = Text(w.Path, maxWatched), Text(w.Tier, 32), Text(w.State, 32), Text(w.Detail, maxDetail)
	}
	hb.Gaps = first(hb.Gaps, maxTold)
	for i := range hb.Gaps {
		g := &hb.Gaps[i]
		g.ID, g.Path, g.Cause, g.Files = Text(g.ID, 128), Text(g.Path, maxWatched), Text(g.Cause, 64), count(g.Files)
	}
	for _, list := range []*[]api.Health{&hb.Health, &hb.Over} {
		*list = first(*list, maxTold)
		for i := range *list {
			h := &(*list)[i]
			h.Code, h.Severity, h.Text = Text(h.Code, 128), Text(h.Severity, 32), Text(h.Text, maxDetail)
		}
	}
	for _, n := range []*int64{&hb.Snapshot, &hb.Policy, &hb.Spool.Pending, &hb.Spool.Bytes} {
		*n = count(*n)
	}
	hb.Spool.Lost = min(hb.Spool.Lost, maxCount)
}

// count keeps a number from being more than sums can hold.
func count(n int64) int64 { return min(max(n, 0), maxCount) }

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
