package cases

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page and its style are part of the program
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
	"time"

	"weightwarden/internal/cli"
)

// Report is the incident report of a case: what the page, the Markdown and the
// JSON form say. Times are UTC.
type Report struct {
	Made        time.Time     `json:"made"`
	MadeBy      string        `json:"made_by"`
	Program     string        `json:"program"`
	Case        Case          `json:"case"`
	Phase       string        `json:"phase"`
	Vector      Vector        `json:"vector"`
	Seen        Seen          `json:"seen"`
	Assets      []string      `json:"assets"`
	Decisions   []Decision    `json:"decisions"`
	Facts       []FactLine    `json:"facts"`
	Tasks       []TaskItem    `json:"tasks"`
	Clocks      []Clock       `json:"clocks"`
	Notices     []Notice      `json:"notices"`
	Timeline    []Event       `json:"timeline"`
	Observables []Observable  `json:"observables"`
	Custody     []Custody     `json:"custody"`
	Alerts      []AlertLine   `json:"alerts"`
	Techniques  []Technique   `json:"techniques"`
	Sweeps      []SweepState  `json:"sweeps"`
	Copies      int64         `json:"copies"`
	SLA         []MetricShare `json:"sla"`
}

// FactLine is a fact in words.
type FactLine struct {
	Text string `json:"text"`
	Fact
}

// AlertLine is one alert of the case.
type AlertLine struct {
	ID       string  `json:"id"`
	Severity int     `json:"severity"`
	Verdict  string  `json:"verdict"`
	Model    string  `json:"model"`
	Host     string  `json:"host"`
	User     string  `json:"user"`
	Place    string  `json:"destination"`
	Path     string  `json:"path"`
	Coverage float64 `json:"coverage"`
	Hits     int64   `json:"hits"`
}

// Technique is an entry of MITRE ATLAS or ATT&CK.
type Technique struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Framework string `json:"framework"` // with its version
}

// NewReport fills what follows from the case by the playbook's rules.
func (p *Playbook) NewReport(r Report) Report {
	r.Phase = p.PhaseName(r.Case.Phase)
	r.Vector, _ = p.Vector(r.Case.Vector) // the zero Vector says "not classified"
	r.Decisions = p.Decide(&r.Case)
	r.Assets = r.Seen.Assets()
	for _, rule := range p.Facts {
		if f, ok := r.Case.Facts[rule.ID]; ok {
			r.Facts = append(r.Facts, FactLine{rule.Text, f})
		}
	}
	r.SLA = slaOf(r.Clocks)
	return r
}

// slaOf says of each promise whether it was kept.
func slaOf(clocks []Clock) []MetricShare {
	var out []MetricShare
	for _, c := range clocks {
		i := -1
		for j := range out {
			if out[j].Metric == c.Metric {
				i = j
			}
		}
		if i < 0 {
			out = append(out, MetricShare{Metric: c.Metric})
			i = len(out) - 1
		}
		out[i].Whole++
		if c.Kept() || c.Stopped.IsZero() && c.Breached.IsZero() {
			out[i].Part++
		}
	}
	return out
}

//go:embed report.html
var reportPage string

//go:embed report.css
var reportStyle string

// HTML writes the report as one page that loads nothing and runs nothing.
func (r *Report) HTML() ([]byte, error) {
	t, err := template.New("report").Funcs(template.FuncMap{
		"show": shown, "utc": utc, "percent": share, "severity": SeverityName, "join": strings.Join, "words": words, "kept": keptWord, "took": took,
	}).Parse(reportPage)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	err = t.Execute(&buf, struct {
		*Report
		Style template.CSS
	}{r, template.CSS(reportStyle)}) // our own file, not anybody's text
	return buf.Bytes(), err
}

// StylePolicy is the source for a content security policy that allows the style of
// the page and no other.
func StylePolicy() string {
	sum := sha256.Sum256([]byte(reportStyle))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

const longestShown = 2000

// shown makes hostile text fit for people: control and direction characters show
// as escapes, and long text is cut.
func shown(text string) string {
	if len(text) > 8*longestShown {
		text = text[:8*longestShown]
	}
	r := []rune(cli.Printable(text))
	if len(r) > longestShown {
		return string(r[:longestShown]) + "…"
	}
	return string(r)
}

func utc(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func share(f float64) string { return fmt.Sprintf("%.1f %%", f*100) }

func words(s string) string { return strings.ReplaceAll(s, "_", " ") }

func keptWord(c Clock) string {
	switch {
	case !c.Breached.IsZero(), !c.Stopped.IsZero() && !c.Kept():
		return "missed"
	case c.Stopped.IsZero():
		return "running"
	}
	return "met"
}

func took(from, to time.Time) string {
	if from.IsZero() || to.IsZero() || to.Before(from) {
		return "–"
	}
	return to.Sub(from).Round(time.Second).String()
}

// Markdown writes the report for a wiki or a ticket.
func (r *Report) Markdown() []byte {
	m := &markdown{}
	c := &r.Case
	m.line("# Incident report %s: %s", c.Ref(), md(c.Title))
	m.line("TLP:%s. Playbook %s of %s. Made %s UTC by %s with %s.", c.TLP, c.Playbook, c.PlaybookVersion, utc(r.Made), md(r.MadeBy), md(r.Program))
	m.line("## 1 Summary")
	m.line("%s", orDash(c.Summary))
	m.table("Item", "Value")
	for _, row := range r.headRows() {
		m.row(row[0], row[1])
	}
	m.line("## 2 Scope")
	m.table("Model", "Version", "Kind", "Tier", "Owner", "Regulated", "Largest share found", "Files", "Verdict")
	for _, x := range r.Seen.Models {
		m.row(x.Name, x.Version, x.Kind, fmt.Sprint(x.Tier), x.Owner, yes(x.Regulated), share(x.Coverage), fmt.Sprint(x.Files), string(x.Word))
	}
	m.line("## 3 Findings and decisions")
	for _, f := range r.Facts {
		m.line("- **%s** %s (%s, by %s, %s UTC)", map[bool]string{true: "True:", false: "Not so:"}[f.Value], md(f.Text), md(f.Reason), md(f.By), utc(f.At))
	}
	for _, d := range r.Decisions {
		m.line("- **Decision:** %s (%s; %s)", md(decisionText(d)), md(strings.Join(d.Owners, " + ")), md(d.SLA))
	}
	r.markdownWork(m)
	return m.buf.Bytes()
}

func (r *Report) markdownWork(m *markdown) {
	m.line("## 4 Timeline")
	m.table("UTC", "Who", "What", "")
	for _, e := range r.Timeline {
		m.row(utc(e.At), e.By, e.Kind, e.Text)
	}
	m.line("## 5 Actions")
	m.table("Phase", "Task", "State", "Proof or reason", "By", "UTC")
	for _, t := range r.Tasks {
		m.row(t.Phase, t.Text, words(t.State), t.Proof+t.Reason, t.DoneBy, utc(t.Done))
	}
	m.line("## 6 Indicators")
	m.table("Type", "Value", "Source", "First seen", "Last seen")
	for _, o := range r.Observables {
		m.row(o.Type, o.Value, o.Source, utc(o.FirstSeen), utc(o.LastSeen))
	}
	m.line("## 7 Times, notices, custody")
	m.table("Promise", "Due", "Ended", "Met")
	for _, c := range r.Clocks {
		m.row(c.Title, utc(c.Due), utc(c.Stopped), keptWord(c))
	}
	m.table("To be told", "Why", "Told", "How")
	for _, n := range r.Notices {
		m.row(n.Recipient, n.Fact, utc(n.Acknowledged), n.How)
	}
	m.table("Custody", "By", "Item", "SHA-256", "To", "Purpose")
	for _, x := range r.Custody {
		m.row(utc(x.At)+" "+x.Action, x.By, x.Item, x.SHA256, x.To, x.Purpose)
	}
	m.line("## 8 Techniques")
	for _, t := range r.Techniques {
		m.line("- %s %s (%s)", t.ID, md(t.Name), t.Framework)
	}
	m.line("## 9 Root cause")
	m.line("%s", orDash(r.Case.RootCause))
	m.line("## 10 Lessons")
	m.line("%s", orDash(r.Case.Lessons))
}

func (r *Report) headRows() [][2]string {
	c := &r.Case
	return [][2]string{{"Severity", SeverityName(c.Severity)}, {"Phase", r.Phase}, {"Resolution", words(c.Resolution)}, {"Vector", r.Vector.Name},
		{"Actor", c.Actor + ". " + c.ActorReason}, {"Subject", c.Subject}, {"Assets at risk", strings.Join(r.Assets, ", ")}, {"Owner", c.OwnerName},
		{"First activity", utc(c.Occurred)}, {"Detected", utc(c.Detected)}, {"Opened", utc(c.Opened)}, {"Acknowledged", utc(c.Acknowledged)},
		{"Contained", utc(c.Contained)}, {"Closed", utc(c.Closed)}, {"Copies that are not authorised", fmt.Sprint(r.Copies)}}
}

func decisionText(d Decision) string {
	if d.Override != nil {
		return d.Override.Decision + " (own decision: " + d.Override.Reason + ")"
	}
	return d.Decision
}

func yes(b bool) string { return map[bool]string{true: "yes", false: "no"}[b] }

func orDash(s string) string {
	if strings.TrimSpace(s) == "" {
		return "–"
	}
	return md(s)
}

// md makes text safe in Markdown: nothing in it is markup, a link or a picture.
func md(text string) string {
	text = shown(text)
	return strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "#", `\#`, "|", `\|`, "!", `\!`,
		"~", `\~`, "\r", " ", "http://", "http\\://", "https://", "https\\://").Replace(text)
}

// markdown collects the lines of a document.
type markdown struct {
	buf bytes.Buffer
}

func (m *markdown) line(format string, args ...any) {
	fmt.Fprintf(&m.buf, "\n"+format+"\n", args...)
}

func (m *markdown) table(head ...string) {
	fmt.Fprintf(&m.buf, "\n| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
}

func (m *markdown) row(cells ...string) {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(md(c), "\n", " ")
	}
	fmt.Fprintf(&m.buf, "| %s |\n", strings.Join(cells, " | "))
}
