// Package export tells other systems of alerts and hits: in the forms that they
// read (OCSF, ECS, CEF), and by pushing to webhooks and syslog from a durable
// outbox.
package export

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/server/store"
	"weightwarden/server/techniques"
)

// Formats of a message.
const (
	Native    = "native"
	OCSF      = "ocsf"
	ECS       = "ecs"
	CEF       = "cef"
	Slack     = "slack"
	Teams     = "teams"
	PagerDuty = "pagerduty"
)

// Event is what a message tells of: an alert and its newest hit.
type Event struct {
	Name       string // store.EventOpened, ...
	Alert      store.Alert
	Hit        *api.Hit
	Notice     *store.Notice     // of a case, instead of an alert
	Checkpoint *store.Checkpoint // of the audit log, instead of an alert
	RoutingKey string            // of the service at PagerDuty
	Time       time.Time
}

// Render writes an event in a format and says its media type.
func Render(format string, e *Event) (body []byte, mediaType string, err error) {
	switch {
	case e.Notice != nil:
		return renderNotice(format, e)
	case e.Checkpoint != nil:
		return renderCheckpoint(format, e)
	}
	var v any
	switch format {
	case OCSF:
		v = ocsf(e)
	case ECS:
		v = ecs(e)
	case Slack:
		v = map[string]string{"text": slackText(sentence(e))}
	case Teams:
		v = teamsAlert(e)
	case PagerDuty:
		v = pagerDutyAlert(e)
	case CEF:
		return []byte(cef(e)), "text/plain; charset=utf-8", nil
	case Native:
		v = map[string]any{"type": e.Name, "timestamp": e.Time.UTC(), "data": native(e)}
	default:
		return nil, "", fmt.Errorf("unknown format %.40q", format)
	}
	body, err = json.Marshal(v)
	return body, "application/json", err
}

func native(e *Event) map[string]any {
	a := &e.Alert
	return map[string]any{"alert": a.ID, "state": a.State, "severity": a.Severity, "verdict": a.Verdict, "model": a.Model, "model_version": a.Version, "host": a.Host,
		"user": a.User, "process": a.Process, "path": a.Path, "destination": a.DestClass, "coverage": a.Coverage, "hits": a.Hits, "first_seen": a.FirstSeen,
		"last_seen": a.LastSeen, "agent": a.Agent, "resolution": a.Resolution}
}

// sentence is one line for people.
func sentence(e *Event) string {
	a := &e.Alert
	text := fmt.Sprintf("[%s] %s of %s %s: %s on %s, to %s: %s", severityWord(a.Severity), a.Verdict, a.Model, a.Version, a.User, a.Host, a.DestClass, a.Path)
	return limit(cli.PrintableLine(text), 1000)
}

// slackText escapes what Slack gives a meaning of its own.
func slackText(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

func limit(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func severityWord(n int) string {
	return []string{"unknown", "critical", "high", "medium", "low"}[min(max(n, 0), 4)]
}

// ocsf is a Data Security Finding (class 2006) of OCSF 1.8.0.
// https://schema.ocsf.io/1.8.0/classes/data_security_finding
func ocsf(e *Event) map[string]any {
	a := &e.Alert
	activity := 1 // create
	status := 1   // new
	switch {
	case a.State == store.AlertClosed:
		activity, status = 3, 4 // close, resolved
	case a.State == store.AlertAcknowledged:
		activity, status = 2, 2 // update, in progress
	}
	severity := []int{0, 5, 4, 3, 2}[min(max(a.Severity, 0), 4)]
	lifecycle := 1 // at rest
	switch a.DestClass {
	case "removable", "network", "cloud_sync", "fuse_remote", "git_remote":
		lifecycle = 2 // in transit
	}
	finding := map[string]any{
		"activity_id": activity, "category_uid": 2, "class_uid": 2006, "type_uid": 200600 + activity, "severity_id": severity, "status_id": status,
		"time": e.Time.UnixMilli(), "start_time": a.FirstSeen.UnixMilli(), "end_time": a.LastSeen.UnixMilli(), "count": a.Hits, "is_alert": true,
		"metadata": map[string]any{"version": "1.8.0", "uid": a.ID, "product": map[string]any{"name": "weightwarden", "vendor_name": "weightwarden", "feature": map[string]any{"name": "fpserver"}}},
		"finding_info": map[string]any{"uid": a.ID, "title": fmt.Sprintf("%s of model %s %s", a.Verdict, a.Model, a.Version), "desc": limit(cli.PrintableLine(describe(e)), 2000),
			"created_time": a.FirstSeen.UnixMilli(), "first_seen_time": a.FirstSeen.UnixMilli(), "last_seen_time": a.LastSeen.UnixMilli(),
			"analytic": map[string]any{"type_id": 5, "type": "Fingerprinting", "name": "weightwarden " + strings.ToLower(string(a.Verdict))},
			"attacks":  ocsfAttacks(e)},
		"data_security": map[string]any{"detection_system_id": 1, "data_lifecycle_state_id": lifecycle, "category_id": 99, "category": "Model weights"},
		"actor":         ocsfActor(e),
		"device":        map[string]any{"type_id": 0, "hostname": a.Host, "uid": a.Agent},
		"resources":     []any{map[string]any{"type": "model", "name": a.Model, "version": a.Version}},
	}
	finding["file"] = ocsfFile(e)
	return finding
}

// ocsfActor is who copied, and by what: a process of OCSF has an id, a program
// without one is the actor's application.
func ocsfActor(e *Event) map[string]any {
	actor := map[string]any{"user": map[string]any{"name": e.Alert.User}}
	switch {
	case e.Hit != nil && e.Hit.Process != nil && e.Hit.Process.PID > 0:
		actor["process"] = map[string]any{"pid": e.Hit.Process.PID, "name": base(e.Alert.Process), "path": e.Alert.Process}
	case e.Alert.Process != "":
		actor["app_name"] = base(e.Alert.Process)
	}
	return actor
}

// ocsfAttacks are the techniques that the alert, or better its newest hit, stands for.
func ocsfAttacks(e *Event) []any {
	facts := e.Alert.Facts()
	if e.Hit != nil {
		facts.Event, facts.Remote = e.Hit.Event, e.Hit.Process != nil && e.Hit.Process.Remote != ""
	}
	out := []any{}
	for _, t := range techniques.For(facts) {
		attack := map[string]any{"version": t.Version}
		parent, sub := t.Parent()
		if sub != "" {
			attack["sub_technique"] = map[string]any{"uid": t.ID, "name": sub, "src_url": t.URL()}
		}
		technique := map[string]any{"uid": t.ParentID(), "src_url": t.URL()}
		if parent != "" {
			technique["name"] = parent
		}
		attack["technique"] = technique
		out = append(out, attack)
	}
	return out
}

func ocsfFile(e *Event) map[string]any {
	file := map[string]any{"name": base(e.Alert.Path), "path": e.Alert.Path, "type_id": 1}
	if e.Hit == nil {
		return file
	}
	file["size"] = e.Hit.Verdict.Size
	hashes := []any{}
	if d := e.Hit.Verdict.Digests; d != nil {
		if d.SHA256 != "" {
			hashes = append(hashes, map[string]any{"algorithm_id": 3, "algorithm": "SHA-256", "value": d.SHA256})
		}
		if d.BLAKE3 != "" {
			hashes = append(hashes, map[string]any{"algorithm_id": 99, "algorithm": "BLAKE3", "value": d.BLAKE3})
		}
	}
	if len(hashes) > 0 {
		file["hashes"] = hashes
	}
	return file
}

func describe(e *Event) string {
	if e.Hit != nil && e.Hit.Verdict.Sentence != "" {
		return e.Hit.Verdict.Sentence
	}
	return sentence(e)
}

// ecs is an alert in the Elastic Common Schema 8.
func ecs(e *Event) map[string]any {
	a := &e.Alert
	file := map[string]any{"path": a.Path, "name": base(a.Path)}
	if e.Hit != nil {
		file["size"] = e.Hit.Verdict.Size
		if d := e.Hit.Verdict.Digests; d != nil && d.SHA256 != "" {
			file["hash"] = map[string]any{"sha256": d.SHA256}
		}
	}
	return map[string]any{
		"@timestamp": e.Time.UTC().Format(time.RFC3339Nano), "ecs": map[string]any{"version": "8.11.0"}, "message": describe(e),
		"event": map[string]any{"kind": "alert", "category": []string{"file", "intrusion_detection"}, "type": []string{"info"}, "action": e.Name, "id": a.ID,
			"severity": 5 - a.Severity, "start": a.FirstSeen.UTC().Format(time.RFC3339Nano), "end": a.LastSeen.UTC().Format(time.RFC3339Nano), "provider": "weightwarden"},
		"host": map[string]any{"name": a.Host}, "user": map[string]any{"name": a.User}, "agent": map[string]any{"id": a.Agent, "type": "weightwarden"},
		"process": map[string]any{"executable": a.Process, "name": base(a.Process)}, "file": file,
		"rule":         map[string]any{"name": "copy of a protected model", "id": string(a.Verdict)},
		"weightwarden": native(e),
	}
}

// cef is a line of the Common Event Format.
func cef(e *Event) string {
	a := &e.Alert
	level := []int{0, 10, 8, 5, 3}[min(max(a.Severity, 0), 4)]
	head := fmt.Sprintf("CEF:0|weightwarden|fpserver|1|%s|%s|%d|", cefHead(string(a.Verdict)), cefHead("Copy of protected model "+a.Model), level)
	var b strings.Builder
	b.WriteString(head)
	for i, kv := range [][2]string{{"externalId", a.ID}, {"rt", fmt.Sprint(e.Time.UnixMilli())}, {"dvchost", a.Host}, {"suser", a.User}, {"sproc", a.Process},
		{"filePath", a.Path}, {"fname", base(a.Path)}, {"cnt", fmt.Sprint(a.Hits)}, {"act", e.Name}, {"cs1Label", "model"}, {"cs1", a.Model}, {"cs2Label", "modelVersion"},
		{"cs2", a.Version}, {"cs3Label", "destination"}, {"cs3", a.DestClass}, {"cfp1Label", "coverage"}, {"cfp1", fmt.Sprintf("%.4f", a.Coverage)}} {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(kv[0] + "=" + cefValue(kv[1]))
	}
	return b.String()
}

func cefHead(s string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`).Replace(limit(cli.PrintableLine(s), 512))
}

// cefValue escapes after control characters have become visible, so that no line
// break and no other field can be smuggled in.
func cefValue(s string) string {
	return strings.NewReplacer(`\`, `\\`, "=", `\=`).Replace(limit(cli.PrintableLine(s), 1023))
}

func base(p string) string {
	return path.Base(strings.ReplaceAll(p, `\`, "/"))
}
