package export

import (
	"cmp"
	"fmt"

	"weightwarden/internal/cli"
	"weightwarden/server/store"
)

// teamsCard is a message for a Teams workflow: an adaptive card. Its text is runs of a
// RichTextBlock, since those take no Markdown: a file name must not become a link.
// https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
// https://adaptivecards.io/explorer/RichTextBlock.html
func teamsCard(head string, facts [][2]string) map[string]any {
	body := []any{map[string]any{"type": "RichTextBlock", "inlines": []any{map[string]any{"type": "TextRun", "text": head, "weight": "Bolder"}}}}
	for _, f := range facts {
		body = append(body, map[string]any{"type": "RichTextBlock", "spacing": "Small", "inlines": []any{
			map[string]any{"type": "TextRun", "text": f[0] + ": ", "isSubtle": true}, map[string]any{"type": "TextRun", "text": limit(cli.PrintableLine(f[1]), 500)}}})
	}
	card := map[string]any{"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "body": body, "msteams": map[string]any{"width": "Full"}}
	return map[string]any{"type": "message", "attachments": []any{map[string]any{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}}}
}

func teamsAlert(e *Event) map[string]any {
	a := &e.Alert
	head := fmt.Sprintf("%s alert: %s of %s %s", severityWord(a.Severity), a.Verdict, a.Model, a.Version)
	if e.Name == store.EventClosed {
		head = fmt.Sprintf("Alert closed (%s): %s of %s %s", a.Resolution, a.Verdict, a.Model, a.Version)
	}
	return teamsCard(limit(cli.PrintableLine(head), 500), [][2]string{{"What", describe(e)}, {"Who", a.User}, {"Host", a.Host}, {"Program", a.Process}, {"To", a.DestClass}, {"File", a.Path},
		{"Hits", fmt.Sprint(a.Hits)}, {"Alert", a.ID}})
}

// Limits of the PagerDuty Events API v2.
// https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
const maxSummary = 1024

// pagerDutyAlert triggers an incident for an alert and resolves it when the alert is
// closed; its key is the alert, so that what arrives twice is one incident.
func pagerDutyAlert(e *Event) map[string]any {
	a := &e.Alert
	action := "trigger"
	switch {
	case e.Name == store.EventClosed || a.State == store.AlertClosed:
		action = "resolve"
	case a.State == store.AlertAcknowledged:
		action = "acknowledge"
	}
	payload := map[string]any{"summary": limit(sentence(e), maxSummary-4), "source": cmp.Or(cli.PrintableLine(a.Host), "weightwarden"), "severity": pagerDutySeverity(a.Severity),
		"timestamp": a.FirstSeen.UTC(), "component": "fpserver", "group": cli.PrintableLine(a.Model), "class": string(a.Verdict), "custom_details": native(e)}
	return pagerDuty(e, action, a.ID, payload)
}

// pagerDutyNotice triggers an incident for a message that is of no alert.
func pagerDutyNotice(e *Event, text string) map[string]any {
	n := e.Notice
	return pagerDuty(e, "trigger", cmp.Or(n.Case, e.Name), map[string]any{"summary": limit(text, maxSummary-4), "source": "weightwarden", "severity": pagerDutySeverity(n.Severity),
		"timestamp": e.Time.UTC(), "component": "fpserver", "class": e.Name})
}

func pagerDuty(e *Event, action, key string, payload map[string]any) map[string]any {
	return map[string]any{"routing_key": e.RoutingKey, "event_action": action, "dedup_key": limit(key, 250), "client": "weightwarden", "payload": payload}
}

func pagerDutySeverity(n int) string {
	return []string{"info", "critical", "error", "warning", "info"}[min(max(n, 0), 4)]
}
