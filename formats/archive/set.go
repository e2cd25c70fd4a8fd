package archive

import (
	"fmt"
	"path"
	"strings"
	"sync"

	"weightwarden/formats"
)

// Set collects the members of one archive. Members can open each other by name
// (formats.Siblings): an index finds its shards, an ONNX model its weights.
type Set struct {
	files  []formats.Member
	once   sync.Once
	byName map[string]int
}

// Add appends a member.
func (s *Set) Add(name string, src formats.Source) {
	s.files = append(s.files, formats.Member{Name: name, Source: &member{src, s, name}})
}

// Members returns what was added, with findings.
func (s *Set) Members(findings []formats.Finding) *formats.Members {
	return &formats.Members{Files: s.files, Findings: findings}
}

// Len returns the number of members.
func (s *Set) Len() int { return len(s.files) }

func (s *Set) find(name string) (formats.Source, bool) {
	s.once.Do(func() {
		s.byName = make(map[string]int, len(s.files))
		for i, f := range s.files {
			key := clean(f.Name)
			if _, have := s.byName[key]; !have { // loaders take the first of equal names
				s.byName[key] = i
			}
		}
	})
	i, ok := s.byName[name]
	if !ok {
		return nil, false
	}
	return s.files[i].Source, true
}

// clean is a member's name as other members may write it. It is only compared,
// never opened.
func clean(name string) string {
	return strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(name, "\\", "/")), "/")
}

type member struct {
	formats.Source
	set  *Set
	name string
}

// OpenSibling implements formats.Siblings inside the archive: the name is
// relative to the member's own folder and must not leave it.
func (m *member) OpenSibling(name string) (formats.Source, error) {
	slashed := strings.ReplaceAll(name, "\\", "/")
	if path.IsAbs(slashed) || strings.Contains("/"+slashed+"/", "/../") {
		return nil, fmt.Errorf("%w: member name %.200q leaves its folder", formats.ErrMalformed, name)
	}
	src, ok := m.set.find(clean(path.Dir(clean(m.name)) + "/" + slashed))
	if !ok {
		return nil, fmt.Errorf("%w: the archive has no member %.200q", formats.ErrNoSiblings, name)
	}
	return src, nil
}

// SiblingNames implements formats.Lister inside the archive.
func (m *member) SiblingNames(max int) ([]string, error) {
	folder := path.Dir(clean(m.name))
	var names []string
	for _, f := range m.set.files {
		if name := clean(f.Name); path.Dir(name) == folder && len(names) < max {
			names = append(names, path.Base(name))
		}
	}
	return names, nil
}

// Base implements formats.Based.
func (m *member) Base() (formats.Source, int64) {
	if b, ok := m.Source.(formats.Based); ok {
		return b.Base()
	}
	return m.Source, 0
}

// Findings implements formats.Noticer.
func (m *member) Findings() []formats.Finding {
	if n, ok := m.Source.(formats.Noticer); ok {
		return n.Findings()
	}
	return nil
}
