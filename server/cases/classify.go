package cases

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"weightwarden/internal/api"
)

// Seen is what the hits of a case tell, put together for its triage.
type Seen struct {
	Models   []ModelSeen    `json:"models"`
	Hosts    []string       `json:"hosts"`
	Users    []string       `json:"users"`
	Places   map[string]int `json:"places"`            // hits by class of destination
	First    time.Time      `json:"first,omitzero"`    // of what agents observed
	Last     time.Time      `json:"last,omitzero"`     // of what agents observed
	Received time.Time      `json:"received,omitzero"` // first hit at the server
	Hits     int            `json:"hits"`
	Accounts bool           `json:"accounts"` // a person's account did it on a machine of the fleet
}

// ModelSeen is how much of a model was found.
type ModelSeen struct {
	Name      string   `json:"name"`
	Version   string   `json:"version"`
	Kind      string   `json:"kind"`
	Tier      int      `json:"tier"`
	Owner     string   `json:"owner"`
	Regulated bool     `json:"regulated"`
	Coverage  float64  `json:"coverage"` // largest share of its bytes in one file
	Files     int      `json:"files"`
	Word      api.Word `json:"word"`
}

// Hit is one hit with when the server got it.
type Hit struct {
	ID       string
	Received time.Time
	Path     string
	Body     *api.Hit
}

// Look puts the hits of a case together. models says what the registry knows.
func Look(hits []Hit, models map[string]api.Model) Seen {
	s := Seen{Places: map[string]int{}}
	for _, h := range hits {
		b := h.Body
		if b == nil {
			continue
		}
		s.Hits++
		s.Places[b.Destination.Class]++
		addOnce(&s.Hosts, b.Host.Name)
		addOnce(&s.Users, b.User.Name)
		s.Accounts = s.Accounts || b.User.UID >= 1000
		s.First, s.Last = span(s.First, s.Last, b.ObservedAt)
		if s.Received.IsZero() || h.Received.Before(s.Received) {
			s.Received = h.Received
		}
		s.addModel(b, models)
	}
	slices.Sort(s.Hosts)
	slices.Sort(s.Users)
	return s
}

func (s *Seen) addModel(b *api.Hit, models map[string]api.Model) {
	v := &b.Verdict
	if v.Model == "" {
		return
	}
	i := slices.IndexFunc(s.Models, func(m ModelSeen) bool { return m.Name == v.Model && m.Version == v.ModelVersion })
	if i < 0 {
		m := models[v.Model]
		s.Models = append(s.Models, ModelSeen{Name: v.Model, Version: v.ModelVersion, Kind: v.Kind, Tier: m.Tier, Owner: m.Owner, Regulated: m.Regulated})
		i = len(s.Models) - 1
	}
	m := &s.Models[i]
	m.Files++
	if v.Coverage.Bytes >= m.Coverage {
		m.Coverage, m.Word = v.Coverage.Bytes, v.Verdict
	}
}

func addOnce(list *[]string, v string) {
	if v != "" && !slices.Contains(*list, v) {
		*list = append(*list, v)
	}
}

func span(first, last, t time.Time) (time.Time, time.Time) {
	if t.IsZero() {
		return first, last
	}
	if first.IsZero() || t.Before(first) {
		first = t
	}
	if t.After(last) {
		last = t
	}
	return first, last
}

// personal are the places that are a person's own, not the organisation's.
func personal() []string {
	return []string{"removable", "cloud_sync", "git_remote", "fuse_remote"}
}

// Vector proposes a theft vector and says why, "" where the hits do not tell.
// People may choose otherwise.
func (s *Seen) Vector() (vector, why string) {
	for _, m := range s.Models {
		if m.Kind == "dataset" {
			return "data_exfiltration", "a protected data set was found outside its place"
		}
	}
	for _, place := range personal() {
		if s.Places[place] > 0 && s.Accounts {
			return "insider_copy", fmt.Sprintf("a person's account wrote it to %s", place)
		}
	}
	if s.Hits > 0 {
		return "weight_theft", "protected weights were found outside their place"
	}
	return "", ""
}

// Assets are the classes of what is at risk: "weights", "data".
func (s *Seen) Assets() []string {
	var out []string
	for _, m := range s.Models {
		if m.Kind == "dataset" {
			addOnce(&out, "data")
		} else {
			addOnce(&out, "weights")
		}
	}
	return out
}

// Facts are what the hits and the registry show by themselves. Whether weights are
// stolen for good, or a person is to blame, is for people to say.
func (s *Seen) Facts(now time.Time) Facts {
	out := Facts{}
	set := func(id, reason string) {
		out[id] = Fact{Value: true, Reason: reason, By: "weightwarden", At: now.UTC()}
	}
	for _, m := range s.Models {
		if m.Kind == "protected" || m.Kind == "dataset" {
			set("accessed", fmt.Sprintf("%d file(s) with %s %s outside an authorised place", m.Files, m.Name, m.Version))
		}
		if m.Regulated {
			set("regulated", m.Name+" is marked as regulated in the registry")
		}
	}
	return out
}

const maxObservables = 500

// Observables are the indicators in the hits, each with first and last sight, the
// oldest first.
func Observables(hits []Hit) []Observable {
	index := map[[2]string]int{}
	var out []Observable
	add := func(h Hit, kind, value, note string) {
		if value == "" || value == "unknown" {
			return
		}
		key := [2]string{kind, value}
		i, ok := index[key]
		if !ok {
			if len(out) == maxObservables {
				return
			}
			i = len(out)
			index[key] = i
			out = append(out, Observable{Type: kind, Value: value, Source: "agent " + h.Body.AgentID, Note: note})
		}
		out[i].FirstSeen, out[i].LastSeen = span(out[i].FirstSeen, out[i].LastSeen, h.Body.ObservedAt)
	}
	for _, h := range hits {
		if h.Body == nil {
			continue
		}
		observe(h, func(kind, value, note string) { add(h, kind, value, note) })
	}
	slices.SortStableFunc(out, func(a, b Observable) int { return a.FirstSeen.Compare(b.FirstSeen) })
	return out
}

func observe(h Hit, add func(kind, value, note string)) {
	b := h.Body
	add("user", b.User.Name, "")
	add("host", b.Host.Name, b.Host.Machine)
	add("file", h.Path, string(b.Verdict.Verdict))
	add("model", strings.TrimSpace(b.Verdict.Model+" "+b.Verdict.ModelVersion), "")
	if d := b.Verdict.Digests; d != nil {
		add("digest", prefixed("sha256:", d.SHA256), path.Base(h.Path))
		add("digest", prefixed("blake3:", d.BLAKE3), path.Base(h.Path))
	}
	add("device", strings.Join(strings.Fields(b.Destination.Vendor+" "+b.Destination.Product+" "+b.Destination.Serial), " "), b.Destination.Class)
	if p := b.Process; p != nil {
		add("process", p.Exe, p.Name)
		if ap, err := netip.ParseAddrPort(p.Remote); err == nil {
			add("address", ap.Addr().String(), "port "+fmt.Sprint(ap.Port()))
		} else {
			add("address", p.Remote, "")
		}
	}
}

func prefixed(prefix, v string) string {
	if v == "" || strings.HasPrefix(v, prefix) {
		return v
	}
	return prefix + v
}
