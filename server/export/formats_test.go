package export

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"weightwarden/internal/api"
	"weightwarden/server/store"
	"weightwarden/server/store/storetest"
)

// ocsfSchema is the published schema of a class.
func ocsfSchema(t *testing.T, class string) *jsonschema.Schema {
	t.Helper()
	b, err := os.ReadFile("testdata/ocsf1.8.0/" + class + ".json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(class+".json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(class + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hold(t *testing.T, s *jsonschema.Schema, what string, body []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		t.Errorf("%s: %v\n%s", what, err, body)
	}
}

const hostileText = "\x1b[31m\u202e\"<script>|=\\\r\n[x](https://evil.example)"

// alerts are of every verdict, destination and state, without a hit and with one, also with hostile text.
func eachAlert(fn func(name string, e *Event)) {
	for _, text := range []string{"", hostileText} {
		for _, verdict := range []api.Word{api.Identical, api.Repackaged, api.Partial, api.Reparameterised, api.Inconclusive} {
			for _, class := range []string{"fixed", "removable", "network", "cloud_sync", "git_remote", "unknown"} {
				for _, state := range []string{store.AlertOpen, store.AlertAcknowledged, store.AlertClosed} {
					e := event("/media/usb/a" + text + ".zip")
					e.Alert.Verdict, e.Alert.DestClass, e.Alert.State, e.Alert.Model, e.Alert.User = verdict, class, state, "aurora"+text, "mallory"+text
					if state == store.AlertClosed {
						e.Name = store.EventClosed
					}
					e.Hit.Verdict.Verdict, e.Hit.Verdict.Sentence = verdict, text
					e.Hit.Verdict.Digests.BLAKE3 = strings.Repeat("b", 64)
					fn(string(verdict)+" "+class+" "+state, e)
					e.Hit = nil
					fn(string(verdict)+" "+class+" "+state+" without a hit", e)
				}
			}
		}
	}
}

// Findings hold to the schema that OCSF published for the class, which knows no
// further fields.
func TestOCSFHoldsToThePublishedSchema(t *testing.T) {
	finding, incident := ocsfSchema(t, "data_security_finding"), ocsfSchema(t, "incident_finding")
	eachAlert(func(name string, e *Event) {
		body, _, err := Render(OCSF, e)
		if err != nil {
			t.Fatal(err)
		}
		hold(t, finding, name, body)
	})
	for _, n := range []store.Notice{{Case: "c1", Ref: "WW-1", Severity: 1, Text: "x" + hostileText, Recipient: "CISO", Due: time.Unix(1700000000, 0)}, {Case: "c1", Ref: "WW-1"},
		{Agent: "a1", Ref: "gpu-7", Severity: 1, Text: "refuses"}} {
		body, _, err := Render(OCSF, &Event{Name: "case.breach", Notice: &n, Time: time.Unix(1700000000, 0)})
		if err != nil {
			t.Fatal(err)
		}
		hold(t, incident, n.Ref, body)
	}
	if finding.Validate(map[string]any{"class_uid": 2006.0}) == nil {
		t.Error("the schema takes anything")
	}
}

// The techniques of a finding are those of its facts, sub-techniques below their technique.
func TestOCSFAttacks(t *testing.T) {
	e := event("/media/usb/a")
	body, _, err := Render(OCSF, e)
	var v struct {
		FindingInfo struct {
			Attacks []struct {
				Version      string
				Technique    struct{ UID, Name string }
				SubTechnique struct{ UID, Name string } `json:"sub_technique"`
			}
		} `json:"finding_info"`
	}
	if err == nil {
		err = json.Unmarshal(body, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	var usb bool
	for _, a := range v.FindingInfo.Attacks {
		usb = usb || a.Technique.UID == "T1052" && a.SubTechnique.UID == "T1052.001" && a.SubTechnique.Name == "Exfiltration over USB" && a.Version == "19"
	}
	if !usb || v.FindingInfo.Attacks[0].Technique.UID != "AML.T0035" {
		t.Errorf("%+v", v.FindingInfo.Attacks)
	}
}

// ECS: fields of the types that the schema gives them, and none outside its sets but
// for our own.
func TestECSFields(t *testing.T) {
	known := map[string]bool{"@timestamp": true, "ecs": true, "message": true, "event": true, "host": true, "user": true, "agent": true, "process": true, "file": true, "rule": true, "weightwarden": true}
	eachAlert(func(name string, e *Event) {
		body, _, err := Render(ECS, e)
		var v map[string]any
		if err == nil {
			err = json.Unmarshal(body, &v)
		}
		if err != nil {
			t.Fatal(err)
		}
		for k := range v {
			if !known[k] {
				t.Errorf("%s: field %s", name, k)
			}
		}
		ev := v["event"].(map[string]any)
		if ev["kind"] != "alert" || ev["severity"].(float64) < 1 || ev["id"] != e.Alert.ID {
			t.Errorf("%s: %v", name, ev)
		}
		for _, c := range ev["category"].([]any) {
			if c != "file" && c != "intrusion_detection" {
				t.Errorf("%s: category %v", name, c)
			}
		}
	})
}

// In a Teams card every text of strangers is a run that takes no Markdown, and no
// control character is left.
func TestTeamsCard(t *testing.T) {
	eachAlert(func(name string, e *Event) {
		body, _, err := Render(Teams, e)
		var v struct {
			Type        string
			Attachments []struct {
				ContentType string
				Content     struct {
					Type, Version string
					Body          []struct {
						Type    string
						Inlines []struct{ Type, Text string }
					}
				}
			}
		}
		if err == nil {
			err = json.Unmarshal(body, &v)
		}
		if err != nil || v.Type != "message" || len(v.Attachments) != 1 || v.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive" {
			t.Fatalf("%s: %s %v", name, body, err)
		}
		if len(body) > 20<<10 {
			t.Errorf("%s: %d bytes, Teams takes 28 KB", name, len(body))
		}
		for _, b := range v.Attachments[0].Content.Body {
			if b.Type != "RichTextBlock" {
				t.Errorf("%s: a %s", name, b.Type)
			}
			for _, run := range b.Inlines {
				if run.Type != "TextRun" || strings.ContainsAny(run.Text, "\x1b\u202e\r\n") {
					t.Errorf("%s: %+v", name, run)
				}
			}
		}
	})
}

type pagerDutyEvent struct {
	RoutingKey  string `json:"routing_key"`
	EventAction string `json:"event_action"`
	DedupKey    string `json:"dedup_key"`
	Payload     struct{ Summary, Source, Severity string }
}

// Each alert is one incident, that its closing resolves; fields are within the
// bounds of the Events API.
func TestPagerDuty(t *testing.T) {
	want := map[string]string{store.AlertOpen: "trigger", store.AlertAcknowledged: "acknowledge", store.AlertClosed: "resolve"}
	eachAlert(func(name string, e *Event) {
		e.RoutingKey = "key"
		e.Alert.Path = strings.Repeat("long", 2000)
		body, _, err := Render(PagerDuty, e)
		var v pagerDutyEvent
		if err == nil {
			err = json.Unmarshal(body, &v)
		}
		if err != nil || v.RoutingKey != "key" || v.EventAction != want[e.Alert.State] || v.DedupKey != e.Alert.ID || v.Payload.Severity != "critical" ||
			v.Payload.Source == "" || v.Payload.Summary == "" || len(v.Payload.Summary) > 1024 {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	})
}

// The routing key goes into the body and nowhere else, and no signature is made with it.
func TestPagerDutyDelivery(t *testing.T) {
	key := strings.Repeat("a1", 16)
	got := make(chan *http.Request, 1)
	var text []byte
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
		got <- r
	}))
	defer hook.Close()
	s := storetest.Open(t, store.Config{Path: t.TempDir() + "/a.db"})
	if _, err := s.AddTarget(t.Context(), store.ServerActor(), store.Target{Name: "duty", Kind: "webhook", URL: hook.URL, Format: PagerDuty, Secret: []byte(key), AllowPrivate: true}); err != nil {
		t.Fatal(err)
	}
	h := api.Hit{Epoch: "e", Seq: 1, ObservedAt: time.Now(), Verdict: api.Verdict{Verdict: api.Identical, Model: "m", Kind: api.KindProtected}}
	if _, err := s.AddHits(t.Context(), "agent", []api.Hit{h}, func(*api.Hit, int) int { return 1 }); err != nil {
		t.Fatal(err)
	}
	sender := &Sender{Store: s, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: time.Now}
	if n, err := sender.Once(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	r := <-got
	var v pagerDutyEvent
	if err := json.Unmarshal(text, &v); err != nil || v.RoutingKey != key || v.EventAction != "trigger" {
		t.Errorf("%s %v", text, err)
	}
	if r.Header.Get("webhook-signature") != "" {
		t.Error("signed with the routing key")
	}
	leaves, err := s.AuditLeaves(t.Context(), 0, 100)
	if err != nil || len(leaves) == 0 {
		t.Fatal(err)
	}
	for _, l := range leaves {
		if bytes.Contains(l, []byte(key)) {
			t.Error("the audit log has the key")
		}
	}
}
