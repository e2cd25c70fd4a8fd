package ui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"weightwarden/server/auth"
	"weightwarden/server/cases"
	"weightwarden/server/store"
)

type casesPage struct {
	Cases  []store.CaseRow
	Filter store.CaseFilter
	State  string
	Phases []cases.Phase
	Open   [5]int
	Late   [5]int
	Next   string
	Views  viewBar
	CSV    string
	May    bool
	Active bool
}

func caseFilter(r *http.Request) (store.CaseFilter, error) {
	q := r.URL.Query()
	f := store.CaseFilter{State: q.Get("state"), Phase: q.Get("phase"), Owner: q.Get("owner"), Text: q.Get("q")}
	switch f.State {
	case "":
		f.State = "open"
	case "all":
		f.State = ""
	}
	if name := q.Get("severity"); name != "" {
		if f.Severity = slices.Index([]string{"", "critical", "high", "medium", "low"}, name); f.Severity < 1 {
			return f, errSeverity
		}
	}
	if after := q.Get("after"); after != "" {
		n, err := strconv.ParseInt(after, 10, 64)
		if err != nil {
			return f, inputError("after: not an address of this console")
		}
		f.Before = n
	}
	return f, nil
}

func (c *Console) cases(v *visit) error {
	ctx := v.r.Context()
	f, err := caseFilter(v.r)
	if err != nil {
		return err
	}
	f.Limit = pageSize + 1
	list, err := c.store.Cases(ctx, v.who.Actor, f)
	if err != nil {
		return err
	}
	p := casesPage{Cases: list, Filter: f, State: v.r.URL.Query().Get("state"), Phases: c.playbook.Phases, CSV: csvLink(v.r), May: v.who.May(auth.CasesWrite),
		Active: f.Phase+f.Owner+f.Text != "" || f.Severity > 0}
	if len(list) > pageSize {
		p.Cases, p.Next = list[:pageSize], nextQuery(v.r.URL.Query(), fmt.Sprint(list[pageSize-1].Number))
	}
	if p.Open, p.Late, err = c.store.CaseCounts(ctx, v.who.Actor); err != nil {
		return err
	}
	if p.Views, err = c.views(v, "/cases"); err != nil {
		return err
	}
	return c.render(v, http.StatusOK, "cases", "Cases", "cases", p)
}

func (c *Console) casesCSV(v *visit) error {
	f, err := caseFilter(v.r)
	if err != nil {
		return err
	}
	head := []string{"case", "title", "severity", "phase", "vector", "owner", "subject", "models", "opened", "acknowledged", "contained", "closed", "resolution", "missed times"}
	return c.csv(v, "cases", head, func(row func(...string) error) error {
		for f.Limit = 1000; ; {
			list, err := c.store.Cases(v.r.Context(), v.who.Actor, f)
			if err != nil {
				return err
			}
			for _, x := range list {
				err := row(x.Ref(), x.Title, severityName(x.Severity), x.Phase, x.Vector, x.OwnerName, x.Subject, strings.Join(x.Models, " "), csvTime(x.Opened), csvTime(x.Acknowledged),
					csvTime(x.Contained), csvTime(x.Closed), x.Resolution, fmt.Sprint(x.Late))
				if err != nil {
					return err
				}
			}
			if len(list) < f.Limit {
				return nil
			}
			f.Before = list[len(list)-1].Number
		}
	})
}

type newCasePage struct {
	Playbook *cases.Playbook
	Alerts   []store.Alert
	Title    string
}

// newCase asks for what a case needs; ?alert= (many) joins alerts.
func (c *Console) newCase(v *visit) error {
	p := newCasePage{Playbook: c.playbook}
	for _, id := range v.r.URL.Query()["alert"] {
		if len(p.Alerts) == 50 {
			break
		}
		a, err := c.store.Alert(v.r.Context(), id)
		if err != nil {
			return err
		}
		p.Alerts = append(p.Alerts, a)
	}
	if len(p.Alerts) > 0 {
		a := p.Alerts[0]
		p.Title = shorten(fmt.Sprintf("%s of %s on %s, to %s", strings.ToLower(string(a.Verdict)), a.Model, a.Host, placeName(a.DestClass)), 200)
	}
	return c.render(v, http.StatusOK, "newcase", "Open a case", "cases", p)
}

func (c *Console) openCase(v *visit) error {
	if err := v.r.ParseForm(); err != nil {
		return inputError("the form cannot be read")
	}
	f := v.r.PostForm
	n := store.NewCase{Title: strings.TrimSpace(f.Get("title")), Vector: f.Get("vector"), TLP: f.Get("tlp"), Restricted: f.Get("restricted") != "", Subject: strings.TrimSpace(f.Get("subject")),
		Alerts: f["alert"], Severity: max(0, slices.Index([]string{"", "critical", "high", "medium", "low"}, f.Get("severity")))}
	if _, ok := c.playbook.Vector(n.Vector); n.Title == "" || len(n.Title) > 400 || len(n.Subject) > 400 || n.Vector != "" && !ok || !slices.Contains(cases.TLPs(), n.TLP) || len(n.Alerts) > 200 {
		return inputError("a case needs a title of at most 400 bytes, a vector of the playbook or none, and a TLP")
	}
	id, err := c.store.OpenCase(v.r.Context(), v.who.Actor, c.playbook, n)
	if err != nil {
		return err
	}
	return c.back(v, "/cases/"+id)
}

type casePage struct {
	*store.CaseFile
	Playbook   *cases.Playbook
	Phases     []phaseStep
	Checks     []cases.Check
	Next       string // phase
	Groups     []taskGroup
	Metrics    []cases.Clock
	Decisions  []cases.Decision
	Vector     cases.Vector
	Facts      []factRow
	Techniques []cases.Technique
	Shares     []cases.ModelSeen
	Assets     []string
	May        bool
	Reasons    []string
	Waiting    []cases.Approval
	Newest     []cases.Event // timeline, newest first
}

type phaseStep struct {
	cases.Phase
	State string // "done", "now", "later"
}

type taskGroup struct {
	ID, Name string
	Tasks    []taskRow
	Open     int
}

type taskRow struct {
	cases.TaskItem
	Rule  cases.TaskRule
	Link  string
	Clock *cases.Clock // that runs, or the last one
}

type factRow struct {
	cases.FactRule
	Fact  cases.Fact
	Known bool
}

func (c *Console) caseView(v *visit) error {
	id, err := c.store.CaseID(v.r.Context(), v.who.Actor, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	f, err := c.store.Case(v.r.Context(), v.who.Actor, c.playbook, id)
	if err != nil {
		return err
	}
	pb := c.playbook
	p := casePage{CaseFile: f, Playbook: pb, Checks: pb.ExitChecks(f.Phase, &f.State), Next: pb.PhaseName(pb.NextPhase(f.Phase)), Decisions: pb.Decide(&f.Case),
		Techniques: f.Techniques(pb), Assets: f.Seen.Assets(), May: v.who.May(auth.CasesWrite), Reasons: cases.PauseReasons(), Shares: f.Seen.Models}
	p.Vector, _ = pb.Vector(f.Vector) // the zero Vector shows as not classified
	p.Phases = phaseSteps(pb, &f.Case)
	p.Groups = taskGroups(pb, f)
	for _, k := range f.Clocks {
		if k.Metric != cases.Task {
			p.Metrics = append(p.Metrics, k)
		}
	}
	for _, rule := range pb.Facts {
		fact, known := f.Facts[rule.ID]
		p.Facts = append(p.Facts, factRow{rule, fact, known})
	}
	for _, a := range f.Approvals {
		if a.Decided.IsZero() {
			p.Waiting = append(p.Waiting, a)
		}
	}
	p.Newest = slices.Clone(f.Events)
	slices.Reverse(p.Newest)
	return c.render(v, http.StatusOK, "case", f.Ref()+" "+f.Title, "cases", p)
}

func phaseSteps(pb *cases.Playbook, c *cases.Case) []phaseStep {
	state := "done"
	var out []phaseStep
	for _, ph := range pb.Phases {
		step := phaseStep{ph, state}
		if ph.ID == c.Phase {
			step.State, state = "now", "later"
			if !c.Open() {
				step.State = "done"
			}
		}
		out = append(out, step)
	}
	return out
}

// taskGroups puts tasks under the headings of the playbook, decisions first, those
// of the present phase before the others.
func taskGroups(pb *cases.Playbook, f *store.CaseFile) []taskGroup {
	var out []taskGroup
	for _, t := range f.Tasks {
		i := slices.IndexFunc(out, func(g taskGroup) bool { return g.ID == t.Group })
		if i < 0 {
			name := "Own tasks"
			if g, ok := pb.Group(t.Group); ok {
				name = g.Name
			} else if t.Group == "decide" {
				name = "Decisions of the matrix"
			}
			out = append(out, taskGroup{ID: t.Group, Name: name})
			i = len(out) - 1
		}
		rule, _ := pb.TaskRule(t.Key) // own tasks and decisions have none
		row := taskRow{TaskItem: t, Rule: rule, Link: fillLink(rule.Link, &f.Case)}
		for k := range f.Clocks {
			if f.Clocks[k].Task == t.Key {
				row.Clock = &f.Clocks[k]
			}
		}
		if t.State == cases.TaskOpen {
			out[i].Open++
		}
		out[i].Tasks = append(out[i].Tasks, row)
	}
	rank := func(g taskGroup) int {
		switch {
		case g.ID == "decide":
			return 0
		case g.Open > 0:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(out, func(a, b taskGroup) int { return rank(a) - rank(b) })
	return out
}

// fillLink leads from a task to the page that shows or does it.
func fillLink(link string, c *cases.Case) string {
	model := ""
	if len(c.Models) > 0 {
		model = c.Models[0]
	}
	if strings.Contains(link, "{model}") && model == "" || strings.Contains(link, "{user}") && c.Subject == "" {
		return ""
	}
	escape := url.PathEscape
	if strings.Contains(link, "?") {
		escape = url.QueryEscape
	}
	return strings.NewReplacer("{model}", escape(model), "{user}", escape(c.Subject), "{case}", c.ID).Replace(link)
}

// changeCase does what a form of the case page says.
func (c *Console) changeCase(v *visit) error {
	if err := v.r.ParseForm(); err != nil {
		return inputError("the form cannot be read")
	}
	id, f := v.r.PathValue("id"), v.r.PostForm
	if err := c.actOnCase(v, id, f); err != nil {
		if errors.Is(err, cases.ErrRefused) {
			return inputError(strings.TrimPrefix(err.Error(), cases.ErrRefused.Error()+": "))
		}
		return err
	}
	return c.back(v, "/cases/"+id+"#"+url.PathEscape(f.Get("at")))
}

func (c *Console) actOnCase(v *visit, id string, f url.Values) error {
	ctx, who := v.r.Context(), v.who.Actor
	reason := strings.TrimSpace(f.Get("reason"))
	switch do := f.Get("do"); do {
	case "join":
		return c.store.JoinAlerts(ctx, who, c.playbook, id, strings.Fields(f.Get("value")))
	case "member":
		return c.store.AddCaseMember(ctx, who, id, cases.Member{Actor: strings.TrimSpace(f.Get("value")), Name: strings.TrimSpace(f.Get("text"))})
	case "unmember":
		actor, err := url.QueryUnescape(f.Get("value"))
		if err != nil {
			return inputError("the form cannot be read")
		}
		return c.store.RemoveCaseMember(ctx, who, id, actor)
	case "observable":
		return c.addObservable(v, id, f)
	case "hold":
		if reason == "" {
			return inputError("a legal hold needs a reason")
		}
		return c.store.HoldCase(ctx, who, id, reason)
	case "ask":
		if reason == "" || !slices.Contains([]string{cases.ApproveFalsePositive, cases.ApproveLiftHold}, f.Get("value")) {
			return inputError("say why a second person shall agree")
		}
		_, err := c.store.AskApproval(ctx, who, id, f.Get("value"), reason)
		return err
	case "approve", "refuse":
		return c.store.DecideApproval(ctx, who, id, f.Get("value"), do == "approve")
	case "gone":
		if reason == "" {
			return inputError("say what shows that the copy is gone")
		}
		agent, err1 := url.QueryUnescape(f.Get("agent"))
		path, err2 := url.QueryUnescape(f.Get("path")) // carried so, since a page shows no raw path of an agent
		if err1 != nil || err2 != nil {
			return inputError("the form cannot be read")
		}
		return c.store.RemoveCopy(ctx, who, agent, path, reason)
	}
	a, err := formAction(f)
	if err != nil {
		return err
	}
	revision, err := strconv.ParseInt(f.Get("revision"), 10, 64)
	if err != nil {
		revision = 0
	}
	return c.store.ChangeCase(ctx, who, c.playbook, store.ActionChange(id, revision, a))
}

func (c *Console) addObservable(v *visit, id string, f url.Values) error {
	kind, ok := c.playbook.ObservableType(f.Get("type"))
	value := strings.TrimSpace(f.Get("value"))
	if !ok || value == "" || len(value) > 16<<10 {
		return inputError("an indicator needs a type and a value")
	}
	now := time.Now().UTC()
	return c.store.AddObservable(v.r.Context(), v.who.Actor, id, cases.Observable{Type: kind.Type, Value: value, Source: f.Get("source"), Sensitive: kind.Sensitive, FirstSeen: now, LastSeen: now})
}

// formAction reads the fields of cases.Action from a form.
func formAction(f url.Values) (*cases.Action, error) {
	get := func(name string) string { return strings.TrimSpace(f.Get(name)) }
	a := &cases.Action{Do: get("do"), Value: get("value"), Reason: get("reason"), Text: get("text"), Task: get("task"), Clock: get("clock"), Fact: get("fact"), Row: get("row"),
		Phase: get("phase"), Notice: get("notice"), Proof: get("proof")}
	if text := get("minutes"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, inputError("minutes: want a number")
		}
		a.Minutes = n
	}
	if text := get("true"); text != "" {
		yes := text == "yes"
		a.True = &yes
	}
	for name, to := range map[string]**string{"summary": &a.Summary, "root_cause": &a.RootCause, "lessons": &a.Lessons} {
		if _, ok := f[name]; ok {
			text := strings.ReplaceAll(f.Get(name), "\r\n", "\n")
			*to = &text
		}
	}
	return a, nil
}

// caseReport shows the incident report: a page of its own, to print or to save.
func (c *Console) caseReport(v *visit) error {
	f, err := c.store.Case(v.r.Context(), v.who.Actor, c.playbook, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	r := f.Report(c.playbook, time.Now(), v.who.Name, "weightwarden "+c.version)
	if v.r.URL.Query().Get("format") == "markdown" {
		v.w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		v.w.Header().Set("Content-Disposition", `attachment; filename="`+f.Ref()+`.md"`)
		_, _ = v.w.Write(r.Markdown()) // the visitor may be gone
		return nil
	}
	body, err := r.HTML()
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src "+cases.StylePolicy()+"; frame-ancestors 'none'; base-uri 'none'")
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = v.w.Write(body) // the visitor may be gone
	return nil
}

type kpiPage struct {
	cases.Figures
	Days int
}

func (c *Console) kpis(v *visit) error {
	days := 30
	if n, err := strconv.Atoi(v.r.URL.Query().Get("days")); err == nil && n >= 1 && n <= 3660 {
		days = n
	}
	f, err := c.store.CaseFigures(v.r.Context(), time.Now().Add(-time.Duration(days)*24*time.Hour))
	if err != nil {
		return err
	}
	return c.render(v, http.StatusOK, "kpis", "Figures", "kpis", kpiPage{f.Measure(), days})
}

// spreadRow is a line of the table of durations.
type spreadRow struct {
	Name string
	cases.Spread
}

// phaseName is a phase as a word: "Contain".
func phaseName(id string) string {
	if id == "" {
		return ""
	}
	return strings.ToUpper(id[:1]) + id[1:]
}

// clockClass colours the tile of a clock.
func clockClass(k cases.Clock) string {
	switch {
	case !k.Stopped.IsZero() && k.Kept():
		return "good"
	case !k.Breached.IsZero(), !k.Stopped.IsZero():
		return "sev1"
	case k.Marks >= 50:
		return "sev2"
	}
	return ""
}

func unmet(checks []cases.Check) bool { return len(cases.Unmet(checks)) > 0 }

func approvalName(action string) string {
	switch action {
	case cases.ApproveFalsePositive:
		return "close as a false alarm or a test"
	case cases.ApproveLiftHold:
		return "lift the legal hold"
	}
	return action
}

// Sealer makes the sealed evidence of a case for somebody who may know of it, and
// writes the download into the chain of custody. The caller closes the file, which
// is gone then.
type Sealer interface {
	Seal(ctx context.Context, by store.Actor, caseID string) (*Sealed, error)
}

// Sealed is a bundle that is ready to be handed out.
type Sealed struct {
	Name   string // "WW-12-evidence.zip"
	Size   int64
	SHA256 string // hex
	io.ReadSeekCloser
}

// bundle hands the sealed evidence out.
func (c *Console) bundle(v *visit) error {
	sealed, err := c.sealer.Seal(v.r.Context(), v.who.Actor, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	defer sealed.Close()
	return sealed.Send(v.w)
}

// Send writes the bundle as a download.
func (s *Sealed) Send(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", `attachment; filename="`+s.Name+`"`)
	h.Set("Content-Length", strconv.FormatInt(s.Size, 10))
	h.Set("Digest", "sha-256="+s.SHA256)
	_, _ = io.Copy(w, s) // the visitor may be gone
	return nil
}
