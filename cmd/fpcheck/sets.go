package main

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"weightwarden/formats/keyfile"
	"weightwarden/internal/api"
	"weightwarden/internal/judge"
)

// part is a judged file that may be a part of a model in several files.
type part struct {
	path    string
	subject *judge.Subject
}

// mostOpen is how many files are kept open until their sets are judged. Of further ones
// the fingerprint is compared, and nothing read again.
const mostOpen = 1024

// parts collects such files, and what their sets must exceed to be news.
type parts struct {
	groups []set
	place  map[string]int
	lists  map[string]float64 // folder and model -> what a list of shards in it shows
	open   []io.Closer
}

// set is some files that are judged together.
type set struct {
	name  string // what the set is called in its verdict
	parts []part
	best  float64 // extent of the best verdict on its files
}

// extent is how much of a registered model a verdict found.
func extent(v *api.Verdict) float64 { return max(v.Coverage.Parameters, v.Coverage.Bytes) }

// modelKey names a model within a folder.
func modelKey(path string, v *api.Verdict) string {
	return strings.Join([]string{modelFolder(path), v.Model, v.ModelVersion}, "\x00")
}

// add keeps a file that shows a part of a model, or that is named like a shard, and
// reports whether its source is to stay open. A file may be in two sets: that of its
// content and that of its name.
func (p *parts) add(path string, s *judge.Subject, src io.Closer, v *api.Verdict) bool {
	if p.place == nil {
		p.place, p.lists = map[string]int{}, map[string]float64{}
	}
	if strings.HasSuffix(path, keyfile.ShardList) && v.Verdict.IsHit() {
		key := modelKey(path, v)
		p.lists[key] = max(p.lists[key], extent(v))
		return false
	}
	name := shardSet(path)
	if v.Verdict == api.Partial {
		p.join(modelKey(path, v), modelFolder(path), part{path, s}, v)
	}
	if name != "" {
		p.join(name, name, part{path, s}, v)
	}
	if v.Verdict != api.Partial && name == "" || len(p.open) == mostOpen {
		return false
	}
	p.open = append(p.open, src)
	return true
}

// close closes what was kept open.
func (p *parts) close() {
	for _, src := range p.open {
		src.Close()
	}
	p.open = nil
}

func (p *parts) join(key, name string, x part, v *api.Verdict) {
	i, ok := p.place[key]
	if !ok {
		i = len(p.groups)
		p.place[key] = i
		p.groups = append(p.groups, set{name: name})
	}
	g := &p.groups[i]
	g.parts = append(g.parts, x)
	g.best = max(g.best, extent(v))
}

// sets returns the sets of two files and more, each once.
func (p *parts) sets() []set {
	var out []set
	for key, i := range p.place {
		if shown, ok := p.lists[key]; ok {
			p.groups[i].best = max(p.groups[i].best, shown)
		}
	}
	for _, g := range p.groups {
		same := slices.IndexFunc(out, func(o set) bool {
			return slices.EqualFunc(o.parts, g.parts, func(a, b part) bool { return a.path == b.path })
		})
		switch {
		case len(g.parts) < 2:
		case same >= 0: // the name of shards says more than that of their folder
			out[same].name, out[same].best = g.name, max(out[same].best, g.best)
		default:
			out = append(out, g)
		}
	}
	return out
}

// judge judges the files of the set together.
func (s *set) judge(ctx context.Context, j *judge.Judge) (*api.Verdict, error) {
	var subjects []*judge.Subject
	var names []string
	for _, p := range s.parts {
		subjects = append(subjects, p.subject)
		names = append(names, filepath.Base(p.path))
	}
	joined, err := judge.JoinSubjects(subjects)
	if err != nil {
		return nil, err
	}
	v, err := j.Verdict(ctx, joined, nil)
	if err != nil {
		return nil, err
	}
	v.Path, v.Files = s.name, names
	return v, nil
}
