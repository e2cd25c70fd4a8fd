package export

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"weightwarden/internal/cli"
)

// renderNotice writes a message about a case. It carries what store.Notice says
// and nothing read from the case anew: what is neutral there stays neutral.
func renderNotice(format string, e *Event) (body []byte, mediaType string, err error) {
	n := e.Notice
	text := limit(cli.PrintableLine(n.Text), 1000)
	var v any
	switch format {
	case OCSF:
		v = ocsfIncident(e, text)
	case ECS:
		v = map[string]any{"@timestamp": e.Time.UTC(), "ecs": map[string]string{"version": "8.17.0"}, "message": text,
			"event": map[string]any{"kind": "alert", "category": []string{"intrusion_detection"}, "action": e.Name, "severity": n.Severity, "id": cmp.Or(n.Case, n.Agent)}}
	case Slack:
		v = map[string]string{"text": slackText(text)}
	case Teams:
		v = teamsCard(text, nil)
	case PagerDuty:
		v = pagerDutyNotice(e, text)
	case CEF:
		return fmt.Appendf(nil, "CEF:0|weightwarden|fpserver|1|%s|%s|%d|externalId=%s", cefHead(e.Name), cefHead(text), []int{3, 10, 8, 5, 3}[min(max(n.Severity, 0), 4)], cefValue(cmp.Or(n.Case, n.Agent))),
			"text/plain; charset=utf-8", nil
	case Native:
		v = map[string]any{"type": e.Name, "timestamp": e.Time.UTC(), "data": n}
	default:
		return nil, "", fmt.Errorf("unknown format %.40q", format)
	}
	body, err = json.Marshal(v)
	return body, "application/json", err
}

// renderCheckpoint writes a checkpoint of the audit log: in CEF where a receiver
// reads only that, else as plain JSON, since neither OCSF nor ECS knows such a thing.
func renderCheckpoint(format string, e *Event) (body []byte, mediaType string, err error) {
	c := e.Checkpoint
	if format == CEF {
		return fmt.Appendf(nil, "CEF:0|weightwarden|fpserver|1|%s|Checkpoint of the audit log|0|rt=%d cnt=%d cs1Label=checkpointBase64 cs1=%s", cefHead(e.Name), e.Time.UnixMilli(), c.Entries,
			cefValue(base64.StdEncoding.EncodeToString([]byte(c.Signed)))), "text/plain; charset=utf-8", nil
	}
	body, err = json.Marshal(map[string]any{"type": e.Name, "timestamp": e.Time.UTC(), "data": c})
	return body, "application/json", err
}

// ocsfIncident is an Incident Finding (class 2005) of OCSF 1.8.0.
// https://schema.ocsf.io/1.8.0/classes/incident_finding
func ocsfIncident(e *Event, text string) map[string]any {
	n := e.Notice
	id := cmp.Or(n.Case, n.Agent)
	out := map[string]any{"activity_id": 2, "category_uid": 2, "class_uid": 2005, "type_uid": 200502, "severity_id": []int{1, 5, 4, 3, 2}[min(max(n.Severity, 0), 4)],
		"status_id": 2, "time": e.Time.UnixMilli(), "desc": text,
		"metadata":          map[string]any{"version": "1.8.0", "uid": id, "product": map[string]any{"name": "weightwarden", "vendor_name": "weightwarden"}},
		"finding_info_list": []any{map[string]any{"uid": id, "title": n.Ref}}}
	out["assignee_group"] = map[string]any{"name": cmp.Or(n.Recipient, "SOC")} // the class wants one
	if !n.Due.IsZero() {
		out["end_time"] = n.Due.Truncate(time.Millisecond).UnixMilli()
	}
	return out
}
