package ui

import (
	"encoding/csv"
	"net/http"
	"strings"
	"time"

	"weightwarden/server/store"
)

// csvRows bounds a download.
const csvRows = 100_000

// csvCell is a text for a spreadsheet: control characters are visible, it is cut as
// on pages, and it is never taken for a formula (OWASP, "CSV Injection").
func csvCell(text string) string {
	text = visible(text)
	if t := strings.TrimLeft(text, " \u00a0\u3000"); t != "" && strings.ContainsRune("=+-@|%＝＋－＠", []rune(t)[0]) {
		return "'" + text
	}
	return text
}

// csv answers with a table. fill calls row for each line, with cells that may be
// hostile. What fails under way is said in the last line: the file is not whole.
func (c *Console) csv(v *visit, name string, head []string, fill func(row func(cells ...string) error) error) error {
	h := v.w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	h.Set("Content-Disposition", `attachment; filename="weightwarden-`+name+`.csv"`)
	w := csv.NewWriter(v.w)
	w.UseCRLF = true // RFC 4180
	if err := w.Write(head); err != nil {
		return nil // the visitor is gone
	}
	n := 0
	err := fill(func(cells ...string) error {
		if n++; n > csvRows {
			return errTooLong
		}
		for i := range cells {
			cells[i] = csvCell(cells[i])
		}
		return w.Write(cells)
	})
	if err != nil {
		c.log.Error("table not whole", "table", name, "error", err)
		_ = w.Write([]string{"INCOMPLETE: " + csvCell(err.Error())}) // the visitor may be gone
	}
	w.Flush()
	return nil
}

func csvTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (c *Console) hitsCSV(v *visit) error {
	f := hitFilter(v.r)
	f.Limit = 1000
	head := []string{"id", "observed", "received", "event", "verdict", "model", "version", "path", "size", "coverage", "host", "user", "process", "destination", "alert", "authorised", "second opinion"}
	return c.csv(v, "hits", head, func(row func(...string) error) error {
		for {
			list, err := c.store.Hits(v.r.Context(), f)
			if err != nil {
				return err
			}
			for _, h := range list {
				if err := row(h.ID, csvTime(h.Observed), csvTime(h.Received), h.Event, string(h.Verdict), h.Model, h.Version, h.Path, plain(h.Size), plain(h.Coverage), h.Host, h.User,
					h.Process, h.DestClass, h.AlertID, h.Authorised, h.Opinion); err != nil {
					return err
				}
			}
			if len(list) < f.Limit {
				return nil
			}
			f.Before = list[len(list)-1].ID
		}
	})
}

func (c *Console) alertsCSV(v *visit) error {
	f, err := alertFilter(v.r)
	if err != nil {
		return err
	}
	f.Worst, f.Before = false, ""
	head := []string{"id", "state", "severity", "verdict", "model", "version", "host", "user", "destination", "path", "process", "hits", "coverage", "first seen", "last seen", "acknowledged", "closed",
		"owner", "resolution", "note", "case", "techniques"}
	return c.csv(v, "alerts", head, func(row func(...string) error) error {
		return c.store.EachAlert(v.r.Context(), f, func(a store.Alert) error {
			return row(a.ID, a.State, severityName(a.Severity), string(a.Verdict), a.Model, a.Version, a.Host, a.User, a.DestClass, a.Path, a.Process, plain(a.Hits), plain(a.Coverage),
				csvTime(a.FirstSeen), csvTime(a.LastSeen), csvTime(a.Acknowledged), csvTime(a.Closed), a.Owner, a.Resolution, a.Note, a.CaseID, techniqueIDs(a))
		})
	})
}

// csvLink is the address of a page's table as CSV, with the same filter.
func csvLink(r *http.Request) string {
	q := r.URL.Query()
	q.Del("after")
	if s := q.Encode(); s != "" {
		return r.URL.Path + ".csv?" + s
	}
	return r.URL.Path + ".csv"
}
