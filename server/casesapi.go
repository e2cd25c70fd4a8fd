package server

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"weightwarden/server/auth"
	"weightwarden/server/cases"
	"weightwarden/server/store"
)

// watchCases notes what time asks of cases, each second: a breach is written down
// within two. The clock never runs backwards, and a wall clock that was set is
// said in the log.
func (s *Server) watchCases(ctx context.Context) {
	started := time.Now()
	steady := cases.NewSteady(s.now, func() time.Duration { return time.Since(started) })
	t := time.NewTicker(time.Second)
	defer t.Stop()
	var told time.Duration
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now, jump := steady.Now()
		if d := jump - told; d > 2*time.Second || d < -2*time.Second {
			s.log.Warn("the wall clock was set; times of cases follow the later of it and the time counted since the start", "by", d.Round(time.Millisecond).String())
			told = jump
		}
		if _, err := s.store.TickCases(ctx, s.playbook, now); err != nil && ctx.Err() == nil {
			s.log.Error("clocks of cases", "error", err)
		}
	}
}

// caseAnswer is a case with all that belongs to it.
type caseAnswer struct {
	cases.Case
	Ref         string             `json:"ref"`
	Decisions   []cases.Decision   `json:"decisions"`
	Checks      []cases.Check      `json:"checks"` // what this phase needs to end
	Tasks       []cases.TaskItem   `json:"tasks"`
	Clocks      []cases.Clock      `json:"clocks"`
	Notices     []cases.Notice     `json:"notices"`
	Timeline    []cases.Event      `json:"timeline"`
	Observables []cases.Observable `json:"observables"`
	Custody     []cases.Custody    `json:"custody"`
	Members     []cases.Member     `json:"members"`
	Approvals   []cases.Approval   `json:"approvals"`
	Alerts      []string           `json:"alerts"`
	Seen        cases.Seen         `json:"seen"`
	Copies      int64              `json:"copies"`
}

func (s *Server) listCases(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	f := store.CaseFilter{State: q.Get("state"), Phase: q.Get("phase"), Owner: q.Get("owner"), Text: q.Get("q"), Limit: limit + 1}
	if after := q.Get("after"); after != "" {
		if f.Before, err = strconv.ParseInt(after, 10, 64); err != nil {
			return refuse(http.StatusBadRequest, "after %.40q: want what next gave", after)
		}
	}
	rows, err := s.store.Cases(r.Context(), p.Actor, f)
	if err != nil {
		return err
	}
	number := func(c store.CaseRow) string { return strconv.FormatInt(c.Number, 10) }
	return writeJSON(w, http.StatusOK, page(rows, limit, number, func(c store.CaseRow) cases.Case { return c.Case }))
}

// newCase is the body that opens a case.
type newCase struct {
	Title      string   `json:"title"`
	Severity   int      `json:"severity"`
	Vector     string   `json:"vector"`
	TLP        string   `json:"tlp"`
	Restricted bool     `json:"restricted"`
	Subject    string   `json:"subject"`
	Alerts     []string `json:"alerts"`
}

func (s *Server) openCase(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var n newCase
	if err := readJSON(r, &n, strict); err != nil {
		return err
	}
	made, err := s.checkCase(n)
	if err != nil {
		return err
	}
	id, err := s.store.OpenCase(r.Context(), p.Actor, s.playbook, made)
	if err != nil {
		return err
	}
	return s.answerCase(w, r, p, id, http.StatusCreated)
}

func (s *Server) checkCase(n newCase) (store.NewCase, error) {
	out := store.NewCase{Title: strings.TrimSpace(n.Title), Severity: n.Severity, Vector: n.Vector, TLP: n.TLP, Restricted: n.Restricted, Subject: n.Subject, Alerts: n.Alerts}
	if out.TLP == "" {
		out.TLP = "AMBER"
	}
	_, vector := s.playbook.Vector(n.Vector)
	switch {
	case out.Title == "" || len(out.Title) > 400 || len(n.Subject) > 400:
		return out, refuse(http.StatusUnprocessableEntity, "a case needs a title of at most 400 bytes")
	case n.Severity < 0 || n.Severity > store.SeverityLow:
		return out, refuse(http.StatusUnprocessableEntity, "severity %d: want 1 (critical) to 4 (low), or 0 for that of the alerts", n.Severity)
	case n.Vector != "" && !vector:
		return out, refuse(http.StatusUnprocessableEntity, "vector %.40q is none of the playbook", n.Vector)
	case !slices.Contains(cases.TLPs(), out.TLP):
		return out, refuse(http.StatusUnprocessableEntity, "tlp %.40q: want one of %q", n.TLP, cases.TLPs())
	case len(n.Alerts) > 200:
		return out, refuse(http.StatusUnprocessableEntity, "%d alerts: at most 200 at once", len(n.Alerts))
	}
	return out, nil
}

func (s *Server) getCase(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	id, err := s.store.CaseID(r.Context(), p.Actor, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.answerCase(w, r, p, id, http.StatusOK)
}

func (s *Server) answerCase(w http.ResponseWriter, r *http.Request, p *auth.Principal, id string, status int) error {
	f, err := s.store.Case(r.Context(), p.Actor, s.playbook, id)
	if err != nil {
		return err
	}
	a := caseAnswer{Case: f.Case, Ref: f.Ref(), Decisions: s.playbook.Decide(&f.Case), Checks: s.playbook.ExitChecks(f.Phase, &f.State), Tasks: f.Tasks, Clocks: f.Clocks,
		Notices: f.Notices, Timeline: f.Events, Observables: f.Observables, Custody: f.Custody, Members: f.Members, Approvals: f.Approvals, Alerts: []string{},
		Seen: f.Seen, Copies: f.State.Copies}
	for _, al := range f.Alerts {
		a.Alerts = append(a.Alerts, al.ID)
	}
	w.Header().Set("ETag", strconv.Quote(strconv.FormatInt(f.Revision, 10)))
	return writeJSON(w, status, a)
}

// actOnCase does one thing to a case. With If-Match it does it only if nobody
// changed the case meanwhile.
func (s *Server) actOnCase(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var a cases.Action
	if err := readJSON(r, &a, strict); err != nil {
		return err
	}
	revision := int64(0)
	if tag := r.Header.Get("If-Match"); tag != "" {
		n, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64)
		if err != nil {
			return refuse(http.StatusBadRequest, "If-Match %.40q: want the ETag of the case", tag)
		}
		revision = n
	}
	id := r.PathValue("id")
	if err := s.store.ChangeCase(r.Context(), p.Actor, s.playbook, store.ActionChange(id, revision, &a)); err != nil {
		return err
	}
	return s.answerCase(w, r, p, id, http.StatusOK)
}

func (s *Server) joinAlerts(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var body struct {
		Alerts []string `json:"alerts"`
	}
	if err := readJSON(r, &body, strict); err != nil {
		return err
	}
	if len(body.Alerts) == 0 || len(body.Alerts) > 200 {
		return refuse(http.StatusUnprocessableEntity, "want 1 to 200 alerts")
	}
	id := r.PathValue("id")
	if err := s.store.JoinAlerts(r.Context(), p.Actor, s.playbook, id, body.Alerts); err != nil {
		return err
	}
	return s.answerCase(w, r, p, id, http.StatusOK)
}

func (s *Server) addObservable(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var o cases.Observable
	if err := readJSON(r, &o, strict); err != nil {
		return err
	}
	kind, ok := s.playbook.ObservableType(o.Type)
	if !ok || strings.TrimSpace(o.Value) == "" || len(o.Value)+len(o.Source)+len(o.Note) > 16<<10 {
		return refuse(http.StatusUnprocessableEntity, "an indicator needs a type of the playbook and a value")
	}
	o.Sensitive = o.Sensitive || kind.Sensitive
	return done(w, s.store.AddObservable(r.Context(), p.Actor, r.PathValue("id"), o))
}

func (s *Server) addCustody(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var e cases.Custody
	if err := readJSON(r, &e, strict); err != nil {
		return err
	}
	if !slices.Contains([]string{"transferred", "verified", "stored"}, e.Action) || e.Item == "" || e.Purpose == "" || len(e.Item)+len(e.Purpose)+len(e.To)+len(e.SHA256) > 16<<10 {
		return refuse(http.StatusUnprocessableEntity, "want action transferred, verified or stored, an item and a purpose")
	}
	return done(w, s.store.AddCustody(r.Context(), p.Actor, r.PathValue("id"), e))
}

func (s *Server) addMember(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var m struct {
		Name string `json:"name"`
	}
	if err := readJSON(r, &m, strict); err != nil {
		return err
	}
	member := cases.Member{Actor: r.PathValue("actor"), Name: m.Name}
	if err := checkMember(member); err != nil {
		return err
	}
	return done(w, s.store.AddCaseMember(r.Context(), p.Actor, r.PathValue("id"), member))
}

func checkMember(m cases.Member) error {
	if m.Actor == "" || len(m.Actor)+len(m.Name) > 400 {
		return refuse(http.StatusUnprocessableEntity, "want the id of a person or token, and a short name")
	}
	return nil
}

func (s *Server) removeMember(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	return done(w, s.store.RemoveCaseMember(r.Context(), p.Actor, r.PathValue("id"), r.PathValue("actor")))
}

func (s *Server) askApproval(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var a struct {
		Action string `json:"action"`
		Reason string `json:"reason"`
	}
	if err := readJSON(r, &a, strict); err != nil {
		return err
	}
	if !slices.Contains([]string{cases.ApproveFalsePositive, cases.ApproveLiftHold}, a.Action) || a.Reason == "" || len(a.Reason) > 4<<10 {
		return refuse(http.StatusUnprocessableEntity, "want action close_false_positive or lift_hold, and a reason")
	}
	id, err := s.store.AskApproval(r.Context(), p.Actor, r.PathValue("id"), a.Action, a.Reason)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, map[string]string{"id": id})
}

func (s *Server) decideApproval(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var a struct {
		Approved *bool `json:"approved"`
	}
	if err := readJSON(r, &a, strict); err != nil {
		return err
	}
	if a.Approved == nil {
		return refuse(http.StatusUnprocessableEntity, "say whether it is approved")
	}
	return done(w, s.store.DecideApproval(r.Context(), p.Actor, r.PathValue("id"), r.PathValue("approval"), *a.Approved))
}

func (s *Server) holdCase(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var a struct {
		Reason string `json:"reason"`
	}
	if err := readJSON(r, &a, strict); err != nil {
		return err
	}
	if a.Reason == "" || len(a.Reason) > 4<<10 {
		return refuse(http.StatusUnprocessableEntity, "a legal hold needs a reason")
	}
	return done(w, s.store.HoldCase(r.Context(), p.Actor, r.PathValue("id"), a.Reason))
}

func (s *Server) removeCopy(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var c struct {
		Agent string `json:"agent"`
		Path  string `json:"path"`
		Proof string `json:"proof"`
	}
	if err := readJSON(r, &c, strict); err != nil {
		return err
	}
	if c.Proof == "" || len(c.Proof) > 4<<10 {
		return refuse(http.StatusUnprocessableEntity, "say what shows that the copy is gone")
	}
	return done(w, s.store.RemoveCopy(r.Context(), p.Actor, c.Agent, c.Path, c.Proof))
}

// signal is what another system tells: a UEBA or HR system, a gateway, a DLP.
type signal struct {
	Kind    string         `json:"kind"`
	Source  string         `json:"source"`
	Subject string         `json:"subject"`
	Model   string         `json:"model"`
	Text    string         `json:"text"`
	Members []cases.Member `json:"members"`
}

func (s *Server) takeSignal(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var g signal
	if err := readJSON(r, &g, strict); err != nil {
		return err
	}
	if !slices.Contains([]string{"insider", "api_volume", "api_pattern", "ip_alert"}, g.Kind) || g.Source == "" || g.Text == "" || g.Subject == "" && g.Model == "" {
		return refuse(http.StatusUnprocessableEntity, "want kind insider, api_volume, api_pattern or ip_alert, a source, a text, and a subject or a model")
	}
	if len(g.Source)+len(g.Subject)+len(g.Model) > 2<<10 || len(g.Text) > 16<<10 || len(g.Members) > 50 {
		return refuse(http.StatusUnprocessableEntity, "the signal is too long")
	}
	for _, m := range g.Members {
		if err := checkMember(m); err != nil {
			return err
		}
	}
	_, opened, err := s.store.TakeSignal(r.Context(), p.Actor, s.playbook, store.Signal{Kind: g.Kind, Source: g.Source, Subject: g.Subject, Model: g.Model, Text: g.Text}, g.Members)
	if err != nil {
		return err
	}
	// The case is not named: who sends signals may not be among those who know of it.
	return writeJSON(w, http.StatusAccepted, map[string]bool{"opened": opened})
}

func (s *Server) getPlaybook(w http.ResponseWriter, _ *http.Request, _ *auth.Principal) error {
	return writeJSON(w, http.StatusOK, s.playbook)
}

func (s *Server) kpis(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	days := 30
	if text := r.URL.Query().Get("days"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 3660 {
			return refuse(http.StatusBadRequest, "days %.20q: want 1 to 3660", text)
		}
		days = n
	}
	f, err := s.store.CaseFigures(r.Context(), s.now().Add(-time.Duration(days)*24*time.Hour))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, f.Measure())
}

// caseReport gives the incident report: JSON, or with ?format= html or markdown.
func (s *Server) caseReport(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	f, err := s.store.Case(r.Context(), p.Actor, s.playbook, r.PathValue("id"))
	if err != nil {
		return err
	}
	rep := f.Report(s.playbook, s.now(), p.Name, "weightwarden "+s.cfg.Version)
	switch format := r.URL.Query().Get("format"); format {
	case "", "json":
		return writeJSON(w, http.StatusOK, rep)
	case "markdown":
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		_, _ = w.Write(rep.Markdown()) // the client may be gone
		return nil
	case "html":
		body, err := rep.HTML()
		if err != nil {
			return err
		}
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src "+cases.StylePolicy())
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(body) // the client may be gone
		return nil
	default:
		return refuse(http.StatusBadRequest, "format %.20q: want json, html or markdown", format)
	}
}
