package ui

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/server/cases"
	"weightwarden/server/store"
)

func functions() template.FuncMap {
	return template.FuncMap{
		"visible": visible, "short": short, "bytes": cli.Bytes, "percent": percent, "barWidth": barWidth, "stamp": stamp, "ago": ago,
		"verdictClass": verdictClass, "severityName": severityName, "base": base, "lower": strings.ToLower, "args": args, "pvalue": pvalue, "number": number,
		"placeName": placeName, "ackDue": ackDue, "ackTook": ackTook, "countdown": countdown, "countdownClass": countdownClass, "duration": duration,
		"typed": typed, "gravity": gravity, "resolution": resolution, "resolutions": resolutions, "opinion": opinion, "tail": tail,
		"viewLink": func(x store.View) string { return x.Page + "?" + x.Query },
		"newest":   newestVersion, "count": countWord, "count0": countOrDash, "any": anyWord, "permit": permitState, "standing": standing, "differs": differs, "why": store.WhyText, "day": day, "cutTo": cutTo,
		"rules": ruleText, "ratio": ratio, "days": days, "tokenState": tokenState,
		"severities": func() []string { return []string{"critical", "high", "medium", "low"} }, "inc": func(n int) int { return n + 1 },
		"phaseName": phaseName, "prose": prose, "carried": url.QueryEscape, "clockClass": clockClass, "unmet": unmet, "join": func(list []string) string { return strings.Join(list, ", ") },
		"approvalName": approvalName, "spreadRow": func(name string, s cases.Spread) spreadRow { return spreadRow{name, s} },
		"rfc3339": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	}
}

const longest = 4096

// visible makes hostile text fit for people: control and direction characters
// show as escapes, very long text is cut in the middle.
func visible(text string) string { return shorten(text, longest) }

// short is visible for cells of tables.
func short(text string) string { return shorten(text, 96) }

func shorten(text string, n int) string {
	if len(text) > 8*n { // before anything walks over all of it
		text = text[:4*n] + "…" + text[len(text)-4*n:]
	}
	text = cli.PrintableLine(text)
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	r := []rune(text)
	return string(r[:n/2]) + "…" + string(r[len(r)-n/2+1:])
}

// base is the last part of a path of any system.
func base(p string) string {
	if i := strings.LastIndexAny(p, `/\`); i >= 0 && i+1 < len(p) {
		return p[i+1:]
	}
	return p
}

func args(list []string) string {
	quoted := make([]string, len(list))
	for i, a := range list {
		if quoted[i] = a; a == "" || strings.ContainsAny(a, " \t\n'\"") {
			quoted[i] = fmt.Sprintf("%q", a)
		}
	}
	return shorten(strings.Join(quoted, " "), 320)
}

// pvalue is a bound on a chance match, "" where there is none.
func pvalue(p *float64) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("%.2g", *p)
}

func percent(share float64) string {
	switch {
	case share >= 0.9995 && share < 1:
		return "99.9 %" // never round to "all of it"
	case share > 0 && share < 0.001:
		return "< 0.1 %"
	case share == 1 || share == 0:
		return fmt.Sprintf("%.0f %%", share*100)
	}
	return fmt.Sprintf("%.1f %%", share*100)
}

// barWidth is a share as a width of 0 to 100 in an SVG.
func barWidth(share float64) string { return fmt.Sprintf("%.2f", min(max(share, 0), 1)*100) }

func stamp(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := time.Since(t)
	switch {
	case d < 0:
		return "in the future"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

func number(n any) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

func verdictClass(w api.Word) string {
	switch w {
	case api.Identical, api.Repackaged, api.Cast, api.Quantised:
		return "bad"
	case api.Partial, api.Derived, api.Merged, api.Reparameterised:
		return "warn"
	case api.Inconclusive:
		return "unsure"
	}
	return "calm"
}

// typed is a text for a field that people type in: without what nobody types.
func typed(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, text[:min(len(text), longest)])
}

// prose is a longer text for a field that people type in: lines stay, the rest of
// what nobody types goes, and nothing is cut that they could have written.
func prose(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return -1
		}
		return r
	}, text)
}

// gravity is the class of a chip for how grave a finding or fault is.
func gravity(word string) string {
	switch word {
	case "danger", "error", "warning", "unread":
		return word
	}
	return ""
}

// resolution says what a closed alert was.
func resolution(word string) string {
	switch word {
	case "true_positive":
		return "theft or leak"
	case "false_positive":
		return "false alarm"
	case "authorised":
		return "allowed"
	case "test":
		return "a test"
	case "":
		return "not said"
	}
	return short(word)
}

// opinion is the server's second opinion in words.
func opinion(word string) string {
	switch word {
	case store.OpinionAgrees:
		return "the registry has this content under the same name"
	case store.OpinionOther:
		return "the registry has this content under another name"
	case store.OpinionMissed:
		return "the agent saw no copy, the registry says that it is one"
	case store.OpinionUnconfirmed:
		return "the registry has no such content"
	case store.OpinionUnregistered:
		return "the registry has no such model any more"
	}
	return short(word)
}

// tail is the end of an id, which differs between ids of one moment.
func tail(id string) string { return short(id[max(0, len(id)-8):]) }

// urlText is a text as a value in an address.
func urlText(s string) string { return url.QueryEscape(s) }

// plain is a number for a program.
func plain(n any) string { return fmt.Sprint(n) }

// placeName is a class of destination in words.
func placeName(class string) string {
	switch class {
	case "fixed":
		return "local disk"
	case "removable":
		return "removable medium"
	case "network":
		return "network share"
	case "cloud_sync":
		return "cloud folder"
	case "fuse_remote":
		return "remote file system"
	case "image":
		return "disk image"
	case "ram":
		return "memory"
	case "git_remote":
		return "git repository"
	case "unknown", "":
		return "unknown place"
	}
	return short(class)
}

func severityName(n int) string {
	switch n {
	case 1:
		return "critical"
	case 2:
		return "high"
	case 3:
		return "medium"
	}
	return "low"
}
