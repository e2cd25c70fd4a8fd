package ui

import (
	"fmt"
	"html/template"
	"strconv"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/store"
)

// The words of cells. What is template.HTML here is made of constants only.

func chip(class, words string) template.HTML {
	return template.HTML(`<span class="chip ` + class + `">` + template.HTMLEscapeString(words) + `</span>`)
}

// newestVersion is the version registered last, zero for none.
func newestVersion(m api.Model) api.ModelVersion {
	if len(m.Versions) == 0 {
		return api.ModelVersion{}
	}
	return m.Versions[len(m.Versions)-1]
}

// countWord is a large number in a few digits: 7.24 B.
func countWord(n int64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "B"}, {1e6, "M"}} {
		if float64(n) >= u.size {
			return fmt.Sprintf("%.2f\u202f%s", float64(n)/u.size, u.name)
		}
	}
	return number(n)
}

// countOrDash lets the eye find what is not zero.
func countOrDash(n int64) template.HTML {
	if n == 0 {
		return `<span class="dim">–</span>`
	}
	return template.HTML(`<b>` + number(n) + `</b>`)
}

// anyWord is a pattern, or that there is none.
func anyWord(pattern string) template.HTML {
	if pattern == "" {
		return `<span class="dim">any</span>`
	}
	return template.HTML(template.HTMLEscapeString(short(pattern)))
}

// permitState says whether an authorisation counts.
func permitState(a store.Authorisation, tier int) template.HTML {
	switch {
	case !a.Revoked.IsZero():
		return chip("", "revoked")
	case time.Now().After(a.Expires):
		return chip("", "over")
	case tier == 1 && a.ApprovedBy == "":
		return chip("warn", "waits for a second person")
	}
	return chip("calm", "in force")
}

// standing says whether what was seen of a model agrees with the registry.
func standing(s store.Standing) template.HTML {
	switch {
	case s.Kind == api.KindPublic:
		return chip("", "public")
	case s.Unauthorised > 0:
		return chip("bad", "copies not allowed")
	case s.Kind == "":
		return chip("warn", "seen, not registered")
	case s.Permits > 0 && s.Authorised == 0:
		return chip("warn", "allowed, never seen")
	case s.Versions == 0:
		return chip("warn", "no version")
	}
	return chip("calm", "agrees")
}

// differs is the class of a kind of difference.
func differs(kind string) string {
	switch kind {
	case store.Misplaced:
		return "bad"
	case store.Unregistered:
		return "warn"
	}
	return ""
}

func day(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02")
}

// cutTo shows the first characters of a text.
func cutTo(text string, n int) string {
	r := []rune(short(text))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n]) + "…"
}

// ratio is a share as a width of 0 to 100 in an SVG.
func ratio(n, of int64) string {
	if of <= 0 {
		return "0"
	}
	return barWidth(float64(n) / float64(of))
}

func days(n int) string {
	if n == 0 {
		return "for ever"
	}
	return fmt.Sprintf("%d days", n)
}

func tokenState(revoked, expires time.Time) template.HTML {
	switch {
	case !revoked.IsZero():
		return chip("", "revoked")
	case !expires.IsZero() && time.Now().After(expires):
		return chip("", "over")
	}
	return chip("calm", "good")
}

// parseMicros reads a time as addresses have it; the zero time for anything else.
func parseMicros(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
