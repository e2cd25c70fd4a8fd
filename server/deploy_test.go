package server

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"

	"weightwarden/internal/api"
)

// The board and the alert rules ask for nothing that the server does not measure.
func TestBoardAndRulesNameWhatIsMeasured(t *testing.T) {
	r := start(t)
	id, agent := r.agent(t)
	if status, _, out := r.send(t, agent, "", "POST", api.PathHits, api.HitBatch{Hits: []api.Hit{sampleHit(id, 1)}}); status != 200 {
		t.Fatalf("%d %s", status, out)
	}
	r.send(t, r.anon, "wrong", "GET", "/v1/models", nil)
	_, _, metrics := r.send(t, r.anon, r.token, "GET", "/metrics", nil)
	name := regexp.MustCompile(`weightwarden_[a-z_]+`)
	for _, file := range []string{"../deploy/prometheus/weightwarden.rules.yml", "../deploy/grafana/weightwarden.json"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names := name.FindAllString(string(b), -1)
		if len(names) < 8 {
			t.Errorf("%s names %d metrics", file, len(names))
		}
		for _, n := range names {
			if !strings.Contains(string(metrics), "\n"+n+"{") && !strings.Contains(string(metrics), "\n"+n+" ") {
				t.Errorf("%s asks for %s, which is not measured", file, n)
			}
		}
	}
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	b, err := os.ReadFile("../deploy/grafana/weightwarden.json")
	if err != nil || json.Unmarshal(b, &board) != nil || len(board.Panels) < 10 {
		t.Errorf("board: %v, %d panels", err, len(board.Panels))
	}
}

// sigmaRule is a rule of the Sigma specification 2.1, or a correlation.
type sigmaRule struct {
	Title, ID, Name, Status, Description, Author, Level string
	Date                                                yaml.Node
	Tags, References, Falsepositives                    []string
	Logsource                                           map[string]string
	Detection                                           map[string]any
	Correlation                                         *struct {
		Type      string
		Rules     []string
		GroupBy   []string `yaml:"group-by"`
		Timespan  string
		Condition map[string]any
	}
}

// Rules have the form that the specification asks for: UUIDs, ISO dates, official
// tag namespaces, known levels, and correlations over rules that are there.
func TestSigmaRules(t *testing.T) {
	files, err := filepath.Glob("../deploy/sigma/*.yml")
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	ids, correlations := map[string]bool{}, map[string]int{}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		d, names := yaml.NewDecoder(f), map[string]bool{}
		d.KnownFields(true)
		for {
			var r sigmaRule
			if err := d.Decode(&r); err != nil {
				if err.Error() != "EOF" {
					t.Errorf("%s: %v", file, err)
				}
				break
			}
			checkSigma(t, filepath.Base(file), r, names)
			if ids[r.ID] {
				t.Errorf("%s: id %s is there twice", file, r.ID)
			}
			ids[r.ID], names[r.Name] = true, true
			if r.Correlation != nil {
				correlations[r.Correlation.Type]++
			}
		}
	}
	if correlations["event_count"] == 0 || correlations["value_count"] == 0 || correlations["temporal_ordered"] == 0 {
		t.Errorf("correlations %v", correlations)
	}
}

func checkSigma(t *testing.T, file string, r sigmaRule, names map[string]bool) {
	t.Helper()
	if u, err := uuid.Parse(r.ID); err != nil || u == uuid.Nil || r.Title == "" || len(r.Title) > 256 || r.Description == "" {
		t.Errorf("%s: %q: id %q or title", file, r.Title, r.ID)
	}
	if _, err := time.Parse("2006-01-02", r.Date.Value); err != nil {
		t.Errorf("%s: %q: date %q", file, r.Title, r.Date.Value)
	}
	if !slices.Contains([]string{"informational", "low", "medium", "high", "critical"}, r.Level) || !slices.Contains([]string{"stable", "test", "experimental"}, r.Status) {
		t.Errorf("%s: %q: level %q, status %q", file, r.Title, r.Level, r.Status)
	}
	tag := regexp.MustCompile(`^attack\.(t\d{4}(\.\d{3})?|[a-z][a-z-]+)$`)
	for _, x := range r.Tags {
		if !tag.MatchString(x) {
			t.Errorf("%s: %q: tag %q", file, r.Title, x)
		}
	}
	c := r.Correlation
	if c == nil {
		if len(r.Logsource) == 0 || r.Detection["condition"] == nil || len(r.Detection) < 2 {
			t.Errorf("%s: %q has no detection", file, r.Title)
		}
		return
	}
	if len(r.Detection) > 0 || len(c.GroupBy) == 0 || !regexp.MustCompile(`^\d+[smhd]$`).MatchString(c.Timespan) {
		t.Errorf("%s: %q: correlation %+v", file, r.Title, c)
	}
	if c.Type != "temporal_ordered" && c.Condition["gte"] == nil {
		t.Errorf("%s: %q counts to nothing", file, r.Title)
	}
	for _, n := range c.Rules {
		if !names[n] {
			t.Errorf("%s: %q is over %q, which is not before it", file, r.Title, n)
		}
	}
}
