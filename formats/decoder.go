package formats

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
)

// HeadBytes is how much of a file Sniff is shown, and TailBytes SniffTail.
const (
	HeadBytes = 4096
	TailBytes = 65536 + 22 // a zip end record with the longest comment
)

// Decoder reads one format.
type Decoder interface {
	// ID names the format.
	ID() ID
	// Sniff says whether a file that starts with head (up to HeadBytes) may be of
	// this format. It is cheap and may be wrong; it must not miss.
	Sniff(head []byte) bool
	// Decode lists the tensors of src. It returns a Model or an error (*Error),
	// never both and never neither. What was found before a defect is kept: a
	// Model with a Finding of severity Unread is better than an error.
	Decode(ctx context.Context, src Source, limits Limits) (*Model, error)
}

// TailSniffer is the optional ability of a Decoder or Container to recognise a
// file by its end (zip: whatever stands in front).
type TailSniffer interface {
	SniffTail(tail []byte) bool
}

// Container is a format that holds other files: tar, zip, gzip ...
type Container interface {
	ID() ID
	Sniff(head []byte) bool
	// Open lists the members of src. A damaged container yields the members
	// found so far and a finding; an error means that there was not one.
	Open(ctx context.Context, src Source, limits Limits) (*Members, error)
}

// Members are the files inside a container.
type Members struct {
	Files    []Member
	Findings []Finding
	// Reach is up to where the bytes of the container are accounted for from the first one on, but for
	// stretches below LeastLoose; 0 where it cannot tell.
	Reach int64
}

// Member is one file inside a container. Its Source may unpack while it is
// read; it implements Siblings where the container can reach the other members.
type Member struct {
	Name   string // hostile; never used as a path on disk
	Source Source
}

// Decoders is the list of everything that can be recognised. The list is made
// in one place, formats/all.
type Decoders struct {
	Formats    []Decoder
	Containers []Container
	// Disguises are tried where nothing else found a tensor, or behind the last one:
	// a model within another file, or written as text. What they find counts only
	// when there are tensors in it, since they guess.
	Disguises []Container
}

// Decode tries every decoder and container whose Sniff agrees, since one file may
// be several things at once (polyglots), and joins what they found. An error
// means that nothing recognised the file (ErrNotRecognized) or that all that did
// failed; the caller then still has the bytes.
func (d Decoders) Decode(ctx context.Context, src Source, limits Limits) (*Model, error) {
	limits = limits.OrDefault()
	ctx = WithSpool(ctx, SpoolOf(ctx, limits))
	return d.decode(ctx, src, limits, limits.Depth)
}

func (d Decoders) decode(ctx context.Context, src Source, limits Limits, depth int) (*Model, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	head, tail, err := ends(src)
	if err != nil {
		return nil, err
	}
	l := &look{d: d, ctx: ctx, src: src, limits: limits, depth: depth}
	l.all(func(s interface{ Sniff([]byte) bool }) bool { return s.Sniff(head) })
	// What lies inside of an archive's members was found there; what stands
	// behind them may still be something else.
	tail = tail[min(int64(len(tail)), max(0, l.reach-(src.Size()-int64(len(tail))))):]
	l.all(func(s interface{ Sniff([]byte) bool }) bool {
		t, ok := s.(TailSniffer)
		return ok && !s.Sniff(head) && t.SniffTail(tail)
	})
	if depth > 0 {
		l.disguises(head)
	}
	return join(l.found, l.errs, limits)
}

// leastBehind is how many bytes behind the last tensor are worth a search.
const leastBehind = 64 << 10

// disguises looks for models that begin elsewhere than at the first byte.
func (l *look) disguises(head []byte) {
	from, ok := l.unclaimed()
	if !ok || len(l.d.Disguises) == 0 {
		return
	}
	src := l.src
	if from > 0 {
		src = &rest{l.src, from}
		if head = make([]byte, min(src.Size(), HeadBytes)); ReadFull(src, head, 0) != nil {
			return
		}
	}
	inner := Decoders{Formats: l.d.Formats, Containers: l.d.Containers}
	for _, c := range l.d.Disguises {
		if c.Sniff(head) {
			if m := inner.disguised(l.ctx, c, src, from, l.limits, l.depth-1); m != nil {
				l.found = append(l.found, m)
			}
		}
	}
}

// unclaimed returns where the part of the file begins in which nothing was found;
// false where that is too little, or another file is packed in all of it.
func (l *look) unclaimed() (from int64, ok bool) {
	from = l.reach
	for _, m := range l.found {
		if m.Variant != "" && len(m.Tensors) == 0 && l.reach == 0 {
			return 0, false // an archive of other things
		}
		end := endWithin(m, l.src)
		if len(m.Tensors) > 0 && end == 0 {
			return 0, false // unpacked from it
		}
		from = max(from, end)
	}
	return from, l.src.Size()-from >= leastBehind
}

// endWithin returns where in src the last tensor ends that is a part of it.
func endWithin(m *Model, src Source) (end int64) {
	have, start := root(src)
	for i := range m.Tensors {
		if m.Tensors[i].Data.Source == nil {
			continue
		}
		base, off := root(m.Tensors[i].Data.Source)
		if sameSource(base, have) {
			end = max(end, off+m.Tensors[i].Data.Offset+m.Tensors[i].Data.Length-start)
		}
	}
	return end
}

// rest is a Source from some byte on.
type rest struct {
	src  Source
	from int64
}

// Size implements Source.
func (r *rest) Size() int64 { return max(0, r.src.Size()-r.from) }

// ReadAt implements io.ReaderAt.
func (r *rest) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > math.MaxInt64-r.from {
		return 0, io.EOF
	}
	return r.src.ReadAt(p, r.from+off)
}

// Base implements Based.
func (r *rest) Base() (Source, int64) { return r.src, r.from }

// disguised decodes what a disguise finds, at most once each byte; nil where there
// is no tensor in it, nor bytes that are written otherwise.
func (d Decoders) disguised(ctx context.Context, c Container, src Source, from int64, limits Limits, depth int) *Model {
	members, err := c.Open(ctx, src, limits)
	if err != nil {
		return nil
	}
	out := &Model{Format: c.ID()}
	var inner []string
	reach := int64(0)
	for _, f := range members.Files {
		name, said := f.Name, fmt.Sprintf("written as %s", c.ID())
		base, off := root(f.Source)
		if have, start := root(src); sameSource(base, have) {
			if off -= start; off < reach {
				continue
			}
			name = fmt.Sprintf("at byte %d", from+off)
			said = name
		}
		m, err := d.decode(ctx, f.Source, limits, depth)
		if err != nil || len(m.Tensors) == 0 {
			out.loosen(f, src, limits)
			continue
		}
		reach = max(reach, endWithin(m, src))
		inner = appendNew(inner, string(m.Format))
		adopt(out, m, name, limits)
		out.AddFinding(limits.Findings, Finding{Code: "disguised", Severity: Danger, Offset: from, Text: fmt.Sprintf("the file holds a %s model, %s", m.Format, said)})
	}
	for _, f := range members.Findings {
		out.AddFinding(limits.Findings, f)
	}
	if len(out.Tensors) == 0 && len(out.Loose) == 0 {
		return nil
	}
	if len(inner) > 0 {
		out.Format = ID(string(c.ID()) + "(" + strings.Join(inner, ",") + ")")
	}
	return out
}

// look is what one file turned out to be so far.
type look struct {
	d      Decoders
	ctx    context.Context
	src    Source
	limits Limits
	depth  int
	found  []*Model
	errs   []error
	reach  int64 // end of the last member that is a part of src
}

func (l *look) keep(m *Model, err error) {
	if m != nil {
		l.found = append(l.found, m)
	} else if err != nil && !errors.Is(err, ErrNotRecognized) {
		l.errs = append(l.errs, err)
	}
}

// all runs what sniffs accepts.
func (l *look) all(sniffs func(interface{ Sniff([]byte) bool }) bool) {
	for _, dec := range l.d.Formats {
		if sniffs(dec) {
			l.keep(dec.Decode(l.ctx, l.src, l.limits))
		}
	}
	for _, c := range l.d.Containers {
		// A zip that a decoder already understood as a whole (a .pt) is not opened again.
		if sniffs(c) && !claimed(l.found, c.ID()) {
			m, reach, err := l.d.openContainer(l.ctx, c, l.src, l.limits, l.depth)
			l.keep(m, err)
			l.reach = max(l.reach, reach)
		}
	}
}

// memberEnd returns where in src a member ends that is a part of it.
func memberEnd(member, src Source) (int64, bool) {
	base, off := root(member)
	have, start := root(src)
	if !sameSource(base, have) {
		return 0, false
	}
	return off + member.Size() - start, true
}

// root follows parts to what they are parts of.
func root(src Source) (Source, int64) {
	off := int64(0)
	for range 64 {
		b, ok := src.(Based)
		if !ok {
			break
		}
		base, at := b.Base()
		if sameSource(base, src) {
			break
		}
		src, off = base, off+at
	}
	return src, off
}

// sameSource compares Sources, some of which Go cannot compare.
func sameSource(a, b Source) bool {
	x, okX := a.(BytesSource)
	y, okY := b.(BytesSource)
	if okX || okY {
		return okX && okY && len(x) == len(y) && len(x) > 0 && &x[0] == &y[0]
	}
	return a != nil && b != nil && reflect.TypeOf(a).Comparable() && reflect.TypeOf(b).Comparable() && a == b
}

// claimed reports whether a decoder read the file as its own kind of container:
// its Variant names the container.
func claimed(found []*Model, container ID) bool {
	for _, m := range found {
		if m.Variant == string(container) && len(m.Tensors) > 0 {
			return true
		}
	}
	return false
}

func ends(src Source) (head, tail []byte, err error) {
	size := src.Size()
	head = make([]byte, min(size, HeadBytes))
	if err := ReadFull(src, head, 0); err != nil {
		return nil, nil, err
	}
	tail = make([]byte, min(size, TailBytes))
	if err := ReadFull(src, tail, size-int64(len(tail))); err != nil {
		return nil, nil, err
	}
	return head, tail, nil
}

// openContainer decodes every member and collects their tensors in one Model. A
// container without any model inside is still a Model, without tensors: its
// members' bytes were reachable, and the format says so.
func (d Decoders) openContainer(ctx context.Context, c Container, src Source, limits Limits, depth int) (out *Model, reach int64, err error) {
	if depth <= 0 {
		return nil, 0, Errorf(c.ID(), "nesting", -1, ErrLimit, "archives nested too deeply")
	}
	members, err := c.Open(ctx, src, limits)
	if err != nil {
		return nil, 0, err
	}
	out, reach = &Model{Variant: string(c.ID())}, members.Reach
	for _, f := range members.Findings {
		out.AddFinding(limits.Findings, f)
	}
	var inner []string
	var twice twice
	for _, f := range members.Files {
		m, err := d.decode(ctx, f.Source, limits, depth-1)
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		if end, ok := memberEnd(f.Source, src); ok {
			reach = max(reach, end)
		}
		if n, ok := f.Source.(Noticer); ok {
			for _, f := range n.Findings() {
				out.AddFinding(limits.Findings, f)
			}
		}
		if err != nil {
			if !errors.Is(err, ErrNotRecognized) {
				out.AddFinding(limits.Findings, memberFinding(c.ID(), f.Name, err))
			}
			out.loosen(f, src, limits)
			continue
		}
		inner = appendNew(inner, string(m.Format))
		twice.note(m)
		adopt(out, m, f.Name, limits)
		if len(m.Tensors) == 0 && len(m.Loose) == 0 {
			out.loosen(f, src, limits) // an archive of other things, itself packed
		}
	}
	twice.drop(out)
	out.Format = c.ID()
	if len(inner) > 0 {
		out.Format = ID(string(c.ID()) + "(" + strings.Join(inner, ",") + ")")
	}
	return out, reach, nil
}

// loosen lists a member in which no decoder reads a tensor, unless it is a part of src:
// then its bytes are there to be seen.
func (m *Model) loosen(f Member, src Source, limits Limits) {
	n := f.Source.Size()
	base, _ := root(f.Source)
	if have, _ := root(src); n >= LeastLoose && !sameSource(base, have) {
		m.addLoose(Tensor{Member: Cut(f.Name, limits.NameBytes), Shape: []int64{n}, Data: Extent{Source: f.Source, Length: n}}, limits)
	}
}

// addLoose lists it if there is room. A member too many is said to be unread.
func (m *Model) addLoose(t Tensor, limits Limits) {
	if len(m.Loose) < limits.Tensors {
		m.Loose = append(m.Loose, t)
		return
	}
	m.AddFinding(limits.Findings, Finding{Code: "members.limit", Severity: Unread, Offset: -1,
		Text: fmt.Sprintf("only the first %d members that no decoder reads were looked at", limits.Tensors)})
}

// DecodeMembers decodes the members of something that is no Source, such as a
// folder, in one Model of format id or id(...).
func (d Decoders) DecodeMembers(ctx context.Context, id ID, members *Members, limits Limits) (*Model, error) {
	limits = limits.OrDefault()
	ctx = WithSpool(ctx, SpoolOf(ctx, limits))
	m, _, err := d.openContainer(ctx, given{id, members}, BytesSource(nil), limits, limits.Depth)
	return m, err
}

// given is a container that is open already.
type given struct {
	id      ID
	members *Members
}

func (g given) ID() ID            { return g.id }
func (g given) Sniff([]byte) bool { return false }

func (g given) Open(context.Context, Source, Limits) (*Members, error) { return g.members, nil }

func memberFinding(id ID, name string, err error) Finding {
	return Finding{Code: string(id) + ".member", Severity: Unread, Offset: -1,
		Text: fmt.Sprintf("member %.200q could not be read as a model: %v", name, err)}
}

func adopt(out, m *Model, member string, limits Limits) {
	member = Cut(member, limits.NameBytes)
	for _, t := range m.Tensors {
		if len(out.Tensors) >= limits.Tensors {
			out.AddFinding(limits.Findings, Finding{Code: "tensors.limit", Severity: Unread, Offset: -1,
				Text: fmt.Sprintf("only the first %d tensors were read", limits.Tensors)})
			break
		}
		if t.Member == "" {
			t.Member = member
		} else {
			t.Member = member + "!" + t.Member
		}
		out.Tensors = append(out.Tensors, t)
	}
	for _, t := range m.Loose {
		t.Member = strings.TrimSuffix(member+"!"+t.Member, "!")
		out.addLoose(t, limits)
	}
	out.Metadata = append(out.Metadata, m.Metadata...)
	for _, f := range m.Findings {
		f.Text = fmt.Sprintf("in member %.200q: %s", member, f.Text)
		out.AddFinding(limits.Findings, f)
	}
}

// join makes one Model of what several decoders found in one file.
func join(found []*Model, errs []error, limits Limits) (*Model, error) {
	if len(found) == 0 {
		if len(errs) > 0 {
			return nil, errors.Join(errs...)
		}
		return nil, &Error{Format: "unknown", Field: "contents", Offset: 0, Err: ErrNotRecognized}
	}
	out := found[0]
	for _, m := range found[1:] {
		if len(m.Tensors) == 0 && len(m.Findings) == 0 {
			continue // a container of nothing that matters
		}
		if len(out.Tensors) == 0 {
			out, m = m, out
		} else if len(m.Tensors) > 0 && !strings.HasPrefix(out.Variant, m.Variant+" ") { // "zip and members" of a zip
			out.AddFinding(limits.Findings, Finding{Code: "polyglot", Severity: Warning, Offset: -1,
				Text: fmt.Sprintf("the file is %s and %s at once", out.Format, m.Format)})
			out.Format += "+" + m.Format
		}
		out.Tensors = append(out.Tensors, m.Tensors...)
		out.Metadata = append(out.Metadata, m.Metadata...)
		for _, t := range m.Loose {
			out.addLoose(t, limits)
		}
		for _, f := range m.Findings {
			out.AddFinding(limits.Findings, f)
		}
	}
	for _, err := range errs {
		f := Finding{Code: "decode", Severity: Unread, Offset: -1, Text: err.Error()}
		if len(out.Tensors) > 0 && failedAtOnce(err) {
			f.Severity = Info
		}
		out.AddFinding(limits.Findings, f)
	}
	return out, nil
}

// failedAtOnce reports whether a decoder stopped at the first bytes: beside one
// that read tensors, it was the likeness of a number (a safetensors header of 640
// bytes starts like a pickle) and not a second format.
func failedAtOnce(err error) bool {
	var e *Error
	return errors.As(err, &e) && errors.Is(err, ErrMalformed) && e.Offset >= 0 && e.Offset < 16
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// Cut returns s, or its first max bytes where it is longer.
func Cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	return s[:max]
}
