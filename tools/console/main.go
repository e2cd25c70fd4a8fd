// Console measures how long the pages of the console take over a full store: it fills
// one with alerts through the store's own calls, asks for every page many times as a
// signed-in analyst, and writes the table into docs/console.md between its marks.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"weightwarden/internal/api"
	"weightwarden/server"
	"weightwarden/server/auth"
	"weightwarden/server/cases"
	"weightwarden/server/ingest"
	"weightwarden/server/store"
)

func main() {
	alerts := flag.Int("alerts", 100_000, "`NUMBER` of alerts")
	agents := flag.Int("agents", 2_000, "`NUMBER` of agents")
	incidents := flag.Int("cases", 10_000, "`NUMBER` of cases")
	times := flag.Int("times", 40, "how `OFTEN` each page is asked for")
	doc := flag.String("doc", "docs/console.md", "`FILE` to write the table to; empty: only print it")
	keep := flag.String("data", "", "`DIR` of the store, filled if it is empty; default: a temporary one")
	flag.Parse()
	if err := run(*alerts, *agents, *incidents, *times, *doc, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "console:", err)
		os.Exit(1)
	}
}

func run(alerts, agents, incidents, times int, doc, dir string) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "weightwarden-console-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	ctx := context.Background()
	cfg := server.Config{DataDir: dir, Version: "measured", Notice: io.Discard, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	s, err := server.New(ctx, cfg)
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	if err := fill(ctx, filepath.Join(dir, "server.db"), alerts, agents, incidents); err != nil {
		return err
	}
	if s, err = server.New(ctx, cfg); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	token, err := os.ReadFile(filepath.Join(dir, "admin-token"))
	if err != nil {
		return err
	}
	b := &browser{handler: s.Handler()}
	if err := b.login(strings.TrimSpace(string(token))); err != nil {
		return err
	}
	rows, err := measure(b, times)
	if err != nil {
		return err
	}
	table := render(rows, alerts, agents, incidents)
	fmt.Print(table)
	if doc != "" {
		return replace(doc, table)
	}
	return nil
}

// fill makes alerts: one for each hit, of users, hosts and models in turn, with one
// in ten closed and one in ten taken.
func fill(ctx context.Context, path string, alerts, agents, incidents int) (err error) {
	st, err := store.Open(ctx, store.Config{Path: path})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if n, err := st.CountAlerts(ctx, store.AlertFilter{}, 1); err != nil || n > 0 {
		return err
	}
	by := store.ServerActor()
	for i := range 30 {
		if err := st.PutModel(ctx, by, api.Model{Name: modelName(i), Kind: api.KindProtected, Tier: i%4 + 1}); err != nil {
			return err
		}
	}
	_, secret := auth.NewToken()
	if _, err := st.AddEnrolToken(ctx, by, store.EnrolToken{Name: "all", UsesLeft: int64(agents), Labels: map[string]string{"site": "a"}, Expires: time.Now().Add(time.Hour)}, secret); err != nil {
		return err
	}
	ids := make([]string, agents)
	for i := range ids {
		a, err := st.Enrol(ctx, secret, store.Agent{ID: store.NewID(), Host: fmt.Sprintf("host-%05d", i), OS: "linux", Arch: "amd64", Version: "1"}, "")
		if err != nil {
			return err
		}
		ids[i] = a.ID
	}
	const batch = 500
	for i := 0; i < alerts; i += batch {
		agent := i / batch % agents
		hits := make([]api.Hit, min(batch, alerts-i))
		for j := range hits {
			hits[j] = hit(ids[agent], agent, i+j)
		}
		if _, err := st.AddHits(ctx, ids[agent], hits, ingest.Severity); err != nil {
			return err
		}
	}
	if err := settle(ctx, st, by); err != nil {
		return err
	}
	return openCases(ctx, st, incidents)
}

// openCases opens cases of three alerts each, every third of them closed, on several
// ways at once so that commits are shared.
func openCases(ctx context.Context, st *store.Store, n int) error {
	pb, err := cases.PB53()
	if err != nil || n == 0 {
		return err
	}
	var ids []string
	err = st.EachAlert(ctx, store.AlertFilter{State: "active"}, func(a store.Alert) error {
		ids = append(ids, a.ID)
		return nil
	})
	if err != nil {
		return err
	}
	by := store.Actor{Kind: "user", ID: "ada", Name: "ada"}
	summary := "A drill."
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i := range n {
		group.Go(func() error {
			id, err := st.OpenCase(ctx, by, pb, store.NewCase{Title: fmt.Sprintf("case %d", i), TLP: "AMBER", Alerts: []string{ids[3*i%len(ids)], ids[(3*i+1)%len(ids)], ids[(3*i+2)%len(ids)]}})
			if err != nil || i%3 > 0 {
				return err
			}
			for _, a := range []cases.Action{{Do: "take"}, {Do: "write", Summary: &summary}, {Do: "close", Value: "test"}} {
				if err := st.ChangeCase(ctx, by, pb, store.ActionChange(id, 0, &a)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// settle closes one alert in ten and takes another.
func settle(ctx context.Context, st *store.Store, by store.Actor) error {
	var lists [2][]string
	n := 0
	err := st.EachAlert(ctx, store.AlertFilter{}, func(a store.Alert) error {
		if n++; n%10 < 2 {
			lists[n%10] = append(lists[n%10], a.ID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, state := range []string{store.AlertClosed, store.AlertAcknowledged} {
		owner, what := "ada", "test"
		for part := range slices.Chunk(lists[i], 500) {
			if _, err := st.ChangeAlerts(ctx, by, part, store.AlertChange{State: &state, Owner: &owner, Resolution: &what}); err != nil {
				return err
			}
		}
	}
	return nil
}

func modelName(i int) string { return fmt.Sprintf("model-%02d", i%30) }

func hit(agent string, host, n int) api.Hit {
	classes := []string{"fixed", "removable", "network", "cloud_sync", "archive", "container"}
	words := []api.Word{api.Identical, api.Quantised, api.Partial, api.Derived, api.Repackaged}
	v := api.Verdict{SchemaVersion: 1, Path: fmt.Sprintf("/home/user-%d/work/weights-%07d.safetensors", n%5000, n), Size: int64(n) * 1e5, Format: "safetensors", Verdict: words[n%len(words)],
		Model: modelName(n), ModelVersion: "1.0", Kind: api.KindProtected, Sentence: "This is a copy.", Coverage: api.Coverage{Bytes: 0.5 + float64(n%50)/100},
		Evidence: []api.Evidence{{Kind: "chunks", Text: "found"}}, Digests: &api.Digests{Content: fmt.Sprintf("%064x", n%20_000+1)}}
	for l := range 24 {
		for _, role := range []string{"q", "k", "v", "o", "up", "down"} {
			name := fmt.Sprintf("layers.%d.%s.weight", l, role)
			v.Tensors = append(v.Tensors, api.TensorMatch{Suspect: name, Registered: name, Relation: "exact", Cosine: 1, Parameters: 1 << 20})
		}
	}
	return api.Hit{SchemaVersion: 1, AgentID: agent, Epoch: "m", Seq: uint64(n + 1), ObservedAt: time.Now(), Event: "write", Host: api.Host{Name: fmt.Sprintf("host-%05d", host)},
		User: api.User{Name: fmt.Sprintf("user-%05d", n), UID: 1000}, Destination: api.Destination{Class: classes[n%len(classes)]},
		Process: &api.Process{PID: 7, Name: "cp", Exe: "/usr/bin/cp", Args: []string{"cp", "a", "b"}, Certainty: "exact"}, Verdict: v}
}

// browser asks a handler in this process, with the session's cookie.
type browser struct {
	handler http.Handler
	cookie  *http.Cookie
}

func (b *browser) login(token string) error {
	req := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader(url.Values{"token": {token}}.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, req)
	for _, c := range w.Result().Cookies() {
		b.cookie = c
	}
	if b.cookie == nil {
		return fmt.Errorf("login: %d", w.Code)
	}
	return nil
}

// get asks for a page and says how long the answer took.
func (b *browser) get(path string) (string, time.Duration, error) {
	req := httptest.NewRequest(http.MethodGet, path, nil)
	req.AddCookie(b.cookie)
	w := httptest.NewRecorder()
	began := time.Now()
	b.handler.ServeHTTP(w, req)
	took := time.Since(began)
	if w.Code != http.StatusOK {
		return "", took, fmt.Errorf("%s: %d", path, w.Code)
	}
	return w.Body.String(), took, nil
}

type row struct {
	name          string
	size          int
	p50, p95, max time.Duration
}

// page is what is measured. next: how deep into its list to go first.
type page struct {
	name, path string // "@LIST#BELOW": the first row of a list, and a page below it
	next       int
}

func pages() []page {
	return []page{
		{"overview", "/", 0}, {"alerts, worst first", "/alerts", 0}, {"alerts, tenth page", "/alerts", 9}, {"alerts, not taken", "/alerts?state=open", 0}, {"alerts, newest first", "/alerts?state=all&sort=newest", 0},
		{"alerts of a host", "/alerts?host=host-00042", 0}, {"alerts of a model, high", "/alerts?model=model-07&severity=high", 0}, {"alerts to a place, verdict", "/alerts?destination=archive&verdict=DERIVED", 0},
		{"alerts, text that is there", "/alerts?q=weights-00099", 0}, {"alerts, text that is nowhere", "/alerts?q=nothing-like-this&state=all", 0}, {"alert", "@/alerts", 0},
		{"hits", "/hits", 0}, {"hits, text that is nowhere", "/hits?q=nothing-like-this", 0}, {"hit", "@/hits", 0}, {"cases", "/cases", 0}, {"cases, tenth page", "/cases", 9}, {"cases, closed", "/cases?state=closed", 0}, {"cases, text that is nowhere", "/cases?q=nothing-like-this&state=all", 0},
		{"case", "@/cases", 0}, {"report of a case", "@/cases#report", 0}, {"figures of cases", "/kpis", 0}, {"search: a user", "/search?q=user-00123", 0}, {"search: a digest", "/search?q=" + fmt.Sprintf("%064x", 77), 0},
		{"models", "/models", 0}, {"model", "/models/model-07", 0}, {"inventory", "/inventory", 0}, {"inventory of a host", "/inventory?host=host-00042", 0}, {"agents", "/agents", 0}, {"agent", "@/agents", 0},
		{"sweeps", "/sweeps", 0}, {"policies", "/policies", 0}, {"audit", "/audit", 0}, {"audit entry", "/audit/1000", 0}, {"settings", "/settings", 0},
	}
}

var (
	firstRow = regexp.MustCompile(`<tbody>\s*<tr>(?s:.*?)<a href="([^"]+)"`)
	nextPage = regexp.MustCompile(`class="button" href="([^"]*after=[^"]*)"`)
)

func (b *browser) find(p page) (string, error) {
	path, first := strings.CutPrefix(p.path, "@")
	path, below, _ := strings.Cut(path, "#")
	for range p.next {
		body, _, err := b.get(path)
		if err != nil {
			return "", err
		}
		m := nextPage.FindStringSubmatch(body)
		if m == nil {
			return "", fmt.Errorf("%s has no next page", path)
		}
		path = strings.ReplaceAll(m[1], "&amp;", "&")
	}
	if !first {
		return path, nil
	}
	body, _, err := b.get(path)
	if err != nil {
		return "", err
	}
	m := firstRow.FindStringSubmatch(body)
	if m == nil {
		return "", fmt.Errorf("%s has no row", path)
	}
	if below != "" {
		below = "/" + below
	}
	return m[1] + below, nil
}

func measure(b *browser, times int) ([]row, error) {
	var rows []row
	for _, p := range pages() {
		path, err := b.find(p)
		if err != nil {
			return nil, err
		}
		took := make([]time.Duration, times)
		size := 0
		for i := range took {
			body, d, err := b.get(path)
			if err != nil {
				return nil, err
			}
			took[i], size = d, len(body)
		}
		slices.Sort(took)
		rows = append(rows, row{p.name, size, took[times/2], took[times*95/100], took[times-1]})
	}
	return rows, nil
}

func render(rows []row, alerts, agents, incidents int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d alerts, a hit each, %d cases, %d agents, SQLite, %d cores; times of the server for a whole page, without the network.\n\n", alerts, incidents, agents, runtime.NumCPU())
	b.WriteString("| page | p50, ms | p95, ms | longest, ms | page, kB |\n|---|---:|---:|---:|---:|\n")
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %d |\n", r.name, ms(r.p50), ms(r.p95), ms(r.max), r.size/1000)
	}
	return b.String()
}

const (
	markBegin = "<!-- measured by tools/console: begin -->\n"
	markEnd   = "<!-- measured by tools/console: end -->\n"
)

func replace(doc, table string) error {
	b, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(b), markBegin)
	_, tail, ok2 := strings.Cut(rest, markEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no marks for the table", doc)
	}
	return os.WriteFile(doc, []byte(head+markBegin+"\n"+table+"\n"+markEnd+tail), 0o644)
}
