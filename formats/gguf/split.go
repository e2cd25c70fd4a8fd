package gguf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"weightwarden/formats"
)

// split is what the metadata says about a model in several files.
type split struct{ no, count, tensors uint64 }

var partName = regexp.MustCompile(`^(.*)-([0-9]{5})-of-([0-9]{5})\.gguf$`)

// joinSplits adds the tensors of the other parts to those of the first. A part
// that is not the first stays alone: who reads a folder meets the first one too.
func (p *parser) joinSplits(ctx context.Context) {
	if p.split.no != 0 {
		p.find("split", formats.Info, -1, "part %d of %d of a model", p.split.no+1, p.split.count)
		return
	}
	p.model.Variant += " split"
	prefix, err := p.ownPrefix()
	if err != nil {
		p.find("split", formats.Unread, -1, "the other %d parts were not found: %v", p.split.count-1, err)
		return
	}
	for no := uint64(1); no < min(p.split.count, 99999) && ctx.Err() == nil; no++ {
		name := fmt.Sprintf("%s-%05d-of-%05d.gguf", prefix, no+1, p.split.count)
		if err := p.addPart(ctx, name, no); err != nil {
			p.find("split", formats.Unread, -1, "part %d, %.200q: %v", no+1, name, err)
			if errors.Is(err, formats.ErrLimit) {
				return
			}
		}
	}
	if n := uint64(len(p.model.Tensors)); p.split.tensors != 0 && n != p.split.tensors {
		p.find("split", formats.Warning, -1, "the parts have %d tensors, the first one announces %d", n, p.split.tensors)
	}
}

// ownPrefix finds the name of the model's files. A Source knows no name of its
// own: it is the first part that starts with the same bytes.
func (p *parser) ownPrefix() (string, error) {
	lister, ok := p.src.(formats.Lister)
	if !ok {
		return "", formats.ErrNoSiblings
	}
	names, err := lister.SiblingNames(10_000)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		m := partName.FindStringSubmatch(name)
		if m == nil || m[2] != "00001" || m[3] != fmt.Sprintf("%05d", p.split.count) {
			continue
		}
		if s, err := formats.OpenSibling(p.src, name); err == nil && sameHead(p.src, s) {
			return m[1], nil
		}
	}
	return "", fmt.Errorf("no file of the folder is called ...-00001-of-%05s.gguf", strconv.FormatUint(p.split.count, 10))
}

func sameHead(a, b formats.Source) bool {
	n := min(a.Size(), formats.HeadBytes)
	x, y := make([]byte, n), make([]byte, n)
	return a.Size() == b.Size() && formats.ReadFull(a, x, 0) == nil && formats.ReadFull(b, y, 0) == nil && bytes.Equal(x, y)
}

func (p *parser) addPart(ctx context.Context, name string, no uint64) error {
	src, err := formats.OpenSibling(p.src, name)
	if err != nil {
		return err
	}
	part, err := parse(ctx, src, p.limits)
	if err != nil {
		return err
	}
	if part.split.no != no || part.split.count != p.split.count {
		p.find("split", formats.Warning, -1, "%.200q says that it is part %d of %d", name, part.split.no+1, part.split.count)
	}
	for _, f := range part.model.Findings {
		f.Text = fmt.Sprintf("in %.200q: %s", name, f.Text)
		p.model.AddFinding(p.limits.Findings, f)
	}
	for _, t := range part.model.Tensors {
		if len(p.model.Tensors) >= p.limits.Tensors {
			return fmt.Errorf("%w: over %d tensors", formats.ErrLimit, p.limits.Tensors)
		}
		t.Member = name
		p.model.Tensors = append(p.model.Tensors, t)
	}
	return nil
}
