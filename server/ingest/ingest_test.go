package ingest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"weightwarden/internal/api"
)

func good() api.Hit {
	return api.Hit{AgentID: "a", Epoch: "e", Seq: 1, ObservedAt: time.Unix(1700000000, 0), Verdict: api.Verdict{Verdict: api.Identical, Model: "m", Kind: api.KindProtected}}
}

func TestCheck(t *testing.T) {
	ok := good()
	if err := Check("a", &ok); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*api.Hit){
		"other agent":    func(h *api.Hit) { h.AgentID = "b" },
		"no epoch":       func(h *api.Hit) { h.Epoch = "" },
		"long epoch":     func(h *api.Hit) { h.Epoch = strings.Repeat("e", 65) },
		"number 0":       func(h *api.Hit) { h.Seq = 0 },
		"number too big": func(h *api.Hit) { h.Seq = 1 << 63 },
		"no time":        func(h *api.Hit) { h.ObservedAt = time.Time{} },
		"verdict":        func(h *api.Hit) { h.Verdict.Verdict = "CLEAN" },
		"no model":       func(h *api.Hit) { h.Verdict.Model = "" },
		"negative size":  func(h *api.Hit) { h.Verdict.Size = -1 },
	} {
		h := good()
		change(&h)
		if Check("a", &h) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSeverity(t *testing.T) {
	for _, tc := range []struct {
		tier     int
		verdict  api.Word
		class    string
		kind     string
		coverage float64
		want     int
	}{
		{1, api.Identical, "fixed", api.KindProtected, 1, 1},
		{1, api.Identical, "removable", api.KindProtected, 1, 1},
		{2, api.Quantised, "fixed", api.KindProtected, 1, 2},
		{2, api.Quantised, "git_remote", api.KindProtected, 1, 1},
		{3, api.Reparameterised, "fixed", api.KindProtected, 1, 4},
		{3, api.Partial, "fixed", api.KindProtected, 0.01, 4},
		{3, api.Partial, "fixed", api.KindProtected, 0.5, 3},
		{0, api.Identical, "fixed", api.KindProtected, 1, 2},
		{4, api.Identical, "network", api.KindProtected, 1, 3},
		{1, api.Identical, "removable", api.KindPublic, 1, 4},
		{1, api.Inconclusive, "removable", "", 0, 4},
	} {
		h := api.Hit{Destination: api.Destination{Class: tc.class}, Verdict: api.Verdict{Verdict: tc.verdict, Kind: tc.kind, Coverage: api.Coverage{Bytes: tc.coverage}}}
		if got := Severity(&h, tc.tier); got != tc.want {
			t.Errorf("%+v: %d", tc, got)
		}
	}
}

// Over every tier, verdict and destination: between critical and low, never lower
// for a more valuable model, one step up for leaving the machine, one step down for
// what a person must review, and public models are always low.
func TestSeverityOverTheWholeTable(t *testing.T) {
	words := []api.Word{api.Identical, api.Repackaged, api.Partial, api.Cast, api.Quantised, api.Derived, api.Merged, api.Reparameterised}
	out := map[string]bool{"removable": true, "network": true, "cloud_sync": true, "fuse_remote": true, "git_remote": true}
	for _, word := range words {
		for _, class := range []string{"fixed", "removable", "network", "cloud_sync", "fuse_remote", "container", "image", "ram", "archive", "git_remote", "download", "unknown"} {
			for tier := 1; tier <= 4; tier++ {
				h := api.Hit{Destination: api.Destination{Class: class}, Verdict: api.Verdict{Verdict: word, Kind: api.KindProtected, Coverage: api.Coverage{Bytes: 0.5}}}
				want := tier
				if word == api.Reparameterised {
					want++
				}
				if out[class] {
					want--
				}
				if got := Severity(&h, tier); got != min(max(want, 1), 4) {
					t.Errorf("tier %d %s to %s: %d, want %d", tier, word, class, got, want)
				}
				h.Verdict.Kind = api.KindPublic
				if got := Severity(&h, tier); got != 4 {
					t.Errorf("public, tier %d %s to %s: %d", tier, word, class, got)
				}
			}
		}
	}
}

// Whatever an agent sends: what is stored is bounded, valid UTF-8 and free of NUL.
func FuzzClean(f *testing.F) {
	b, err := json.Marshal(good())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"verdict":{"path":"\u0000","coverage":{"bytes":-3}},"process":{"args":["a"],"ancestors":[{"ancestors":[{}]}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h api.Hit
		if json.Unmarshal(b, &h) != nil {
			return
		}
		Clean(&h)
		for _, s := range []string{h.Verdict.Path, h.Verdict.Model, h.Host.Name, h.User.Name, h.Destination.Class} {
			if !utf8.ValidString(s) || strings.ContainsRune(s, 0) || len(s) > wide.text+3 {
				t.Errorf("%.100q of %d bytes", s, len(s))
			}
		}
		if c := h.Verdict.Coverage.Bytes; c < 0 || c > 1 || h.Destination.Class == "" {
			t.Errorf("coverage %v, class %q", c, h.Destination.Class)
		}
	})
}
