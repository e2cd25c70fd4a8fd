package techniques

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"weightwarden/internal/api"
)

func ids(list []Technique) string {
	var out []string
	for _, t := range list {
		out = append(out, t.ID)
	}
	return strings.Join(out, " ")
}

func TestFactsNameTechniques(t *testing.T) {
	base := Facts{Verdict: api.Identical, Kind: api.KindProtected, Destination: "fixed", Path: "/home/a/m.safetensors", Process: "/usr/bin/cp", Hits: 1}
	for name, c := range map[string]struct {
		change func(*Facts)
		want   string
	}{
		"local":        {func(*Facts) {}, "AML.T0035 AML.T0037 T1005 T1074.001"},
		"USB":          {func(f *Facts) { f.Destination = "removable" }, "AML.T0035 AML.T0025 AML.T0048.004 T1052.001"},
		"share":        {func(f *Facts) { f.Destination = "network" }, "AML.T0035 AML.T0025 T1074.002"},
		"sync, twice":  {func(f *Facts) { f.Destination, f.Process = "cloud_sync", `C:\bin\rclone.exe` }, "AML.T0035 AML.T0025 AML.T0048.004 T1567.002"},
		"quantised":    {func(f *Facts) { f.Verdict = api.Quantised }, "AML.T0035 AML.T0037 T1005 T1074.001 T1027"},
		"piece":        {func(f *Facts) { f.Verdict = api.Partial }, "AML.T0035 AML.T0037 T1005 T1074.001 T1030"},
		"picture":      {func(f *Facts) { f.Path = "/tmp/Cat.JPG" }, "AML.T0035 AML.T0037 T1005 T1074.001 T1036.008"},
		"tar":          {func(f *Facts) { f.Process, f.Destination = "tar", "archive" }, "AML.T0035 T1560.001"},
		"zipfile":      {func(f *Facts) { f.Process, f.Destination = "/usr/bin/python3.12", "archive" }, "AML.T0035 T1560.002"},
		"upload":       {func(f *Facts) { f.Remote, f.Destination = true, "unknown" }, "AML.T0035 T1048"},
		"many":         {func(f *Facts) { f.Hits = 400 }, "AML.T0035 AML.T0037 T1005 T1074.001 T1119"},
		"public":       {func(f *Facts) { f.Kind = api.KindPublic }, ""},
		"inconclusive": {func(f *Facts) { f.Verdict = api.Inconclusive }, ""},
	} {
		f := base
		c.change(&f)
		got := For(f)
		if ids(got) != c.want {
			t.Errorf("%s: %s, want %s", name, ids(got), c.want)
		}
		for _, x := range got {
			if x.Why == "" || x.Version == "" {
				t.Errorf("%s: %s says neither why nor the version", name, x.ID)
			}
		}
	}
}

func TestEveryTechniqueIsNamedOnceWithVersionAndPage(t *testing.T) {
	seen := map[string]bool{}
	form := regexp.MustCompile(`^(AML\.)?T\d{4}(\.\d{3})?$`)
	for _, x := range All() {
		if seen[x.ID] || !form.MatchString(x.ID) || x.Name == "" || x.Version == "" {
			t.Errorf("%+v", x)
		}
		seen[x.ID] = true
	}
	if x, ok := Find("T1052.001"); !ok || x.URL() != "https://attack.mitre.org/techniques/T1052/001" {
		t.Errorf("%v %s", ok, x.URL())
	}
	if x, _ := Find("AML.T0035"); x.URL() != "https://atlas.mitre.org/techniques/AML.T0035" {
		t.Error(x.URL())
	}
	if _, ok := Find("T9999"); ok {
		t.Error("found what is not there")
	}
}

func TestLayerHasSightingsAndCoverage(t *testing.T) {
	var tally Tally
	usb := For(Facts{Verdict: api.Identical, Destination: "removable"})
	tally.Add(usb)
	tally.Add(usb)
	tally.Add(nil)
	b, err := json.Marshal(Navigator(&tally, time.Unix(0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	var l struct {
		Name, Domain string
		Versions     map[string]string
		Techniques   []struct {
			TechniqueID string
			Score       int64
		}
		Metadata []Pair
	}
	if err := json.Unmarshal(b, &l); err != nil {
		t.Fatal(err)
	}
	if l.Domain != "enterprise-attack" || l.Versions["layer"] != "4.5" || l.Versions["attack"] != ATTACKVersion || l.Name == "" {
		t.Errorf("%s", b)
	}
	if l.Techniques[0].TechniqueID != "T1052.001" || l.Techniques[0].Score != 2 {
		t.Errorf("first: %+v", l.Techniques[0])
	}
	for _, x := range l.Techniques {
		if strings.HasPrefix(x.TechniqueID, "AML.") {
			t.Errorf("%s is not of ATT&CK", x.TechniqueID)
		}
	}
	if !slices.ContainsFunc(l.Metadata, func(p Pair) bool { return strings.Contains(p.Name, "AML.T0025") && p.Value == "2" }) {
		t.Errorf("no ATLAS in %v", l.Metadata)
	}
}

func TestParent(t *testing.T) {
	for id, want := range map[string][3]string{
		"T1052.001":     {"T1052", "Exfiltration Over Physical Medium", "Exfiltration over USB"},
		"T1005":         {"T1005", "Data from Local System", ""},
		"AML.T0035":     {"AML.T0035", "AI Artifact Collection", ""},
		"AML.T0048.004": {"AML.T0048", "External Harms", "AI Intellectual Property Theft"},
		"AML.T0005.001": {"AML.T0005", "", "Train Proxy via Replication"},
	} {
		x, ok := Find(id)
		name, sub := x.Parent()
		if got := [3]string{x.ParentID(), name, sub}; !ok || got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}
