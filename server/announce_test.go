package server

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"weightwarden/internal/api"
)

// hook posts a webhook and returns what came back.
func (r *running) hook(t *testing.T, path, body string, header map[string]string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", r.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := r.anon.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode >= 400 && kind != "application/problem+json" {
		t.Errorf("%d as %s", resp.StatusCode, kind)
	}
	return resp.StatusCode, strings.TrimSpace(string(out))
}

// mlflow signs a body as MLflow does.
func mlflow(secret, id string, at time.Time, body string) map[string]string {
	stamp := fmt.Sprint(at.Unix())
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(id + "." + stamp + "." + body))
	return map[string]string{"X-MLflow-Delivery-Id": id, "X-MLflow-Timestamp": stamp, "X-MLflow-Signature": "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))}
}

func versionMade(name, version string) string {
	return fmt.Sprintf(`{"entity":"model_version","action":"created","timestamp":"x","data":{"name":%q,"version":%q,"source":"runs:/ab/m","run_id":"ab","tags":{},"description":null}}`, name, version)
}

// What a webhook tells waits, counts once, and is done when the version is registered.
func TestAnnouncedVersionsWait(t *testing.T) {
	r := start(t)
	lab := must[api.WebhookSource](t, r, "POST", "/v1/webhook-sources", api.WebhookSource{Name: "lab", Provider: "mlflow"})
	hub := must[api.WebhookSource](t, r, "POST", "/v1/webhook-sources", api.WebhookSource{Name: "hub", Provider: "huggingface", Secret: "0123456789abcdef"})
	if len(lab.Secret) < 32 || hub.Secret != "0123456789abcdef" {
		t.Fatalf("secrets %q, %q", lab.Secret, hub.Secret)
	}
	expect := func(path, body string, header map[string]string, status int, text string) {
		t.Helper()
		if got, out := r.hook(t, path, body, header); got != status || !strings.Contains(out, text) {
			t.Errorf("%d %s; want %d with %q", got, out, status, text)
		}
	}
	open := func(query string) (out []string) {
		for _, a := range must[api.List[api.Announcement]](t, r, "GET", "/v1/announcements"+query, nil).Items {
			out = append(out, a.Model+" "+a.Version)
		}
		return out
	}
	body := versionMade("aurora", "7")
	signed := mlflow(lab.Secret, "d1", time.Now(), body)
	expect(lab.Path, body, signed, 200, `"announced":1`)
	expect(lab.Path, body, signed, 200, `"announced":0`) // the same delivery again
	expect(lab.Path, body, mlflow(lab.Secret, "d2", time.Now(), body), 200, `"announced":0`)
	expect(lab.Path, body, mlflow(lab.Secret, "d3", time.Now().Add(-time.Hour), body), 401, "prove")
	expect(lab.Path, body+" ", signed, 401, "prove")
	expect(hub.Path, body, signed, 401, "prove")
	expect("/v1/webhooks/nobody", body, signed, 401, "prove")
	bad := `{"entity":"model_version","action":"created","data":{}}`
	expect(lab.Path, bad, mlflow(lab.Secret, "d4", time.Now(), bad), 422, "without name or number")
	deep := strings.Repeat("[", 60) + strings.Repeat("]", 60)
	expect(lab.Path, deep, mlflow(lab.Secret, "d5", time.Now(), deep), 400, "deep")
	long := strings.Repeat(" ", 300<<10)
	expect(lab.Path, long, mlflow(lab.Secret, "d6", time.Now(), long), 413, "larger")
	push := `{"event":{"action":"update","scope":"repo.content"},"repo":{"type":"model","name":"org/base","headSha":"c379e821","owner":{"id":"1"}}}`
	expect(hub.Path, push, map[string]string{"X-Webhook-Secret": hub.Secret}, 200, `"announced":1`)
	expect(hub.Path, push, map[string]string{"X-Webhook-Secret": hub.Secret}, 200, `"announced":0`)
	expect(hub.Path, `{"event":{"action":"create","scope":"discussion"}}`, map[string]string{"X-Webhook-Secret": hub.Secret}, 200, `"announced":0`)

	if got := open(""); len(got) != 2 || got[0] != "aurora 7" || got[1] != "org--base c379e821" {
		t.Errorf("waiting: %v", got)
	}
	diff := must[api.List[api.Difference]](t, r, "GET", "/v1/reconcile?kind=unregistered", nil).Items
	if len(diff) != 2 || diff[0].Reason != "announced" || diff[0].By != "lab" {
		t.Errorf("differences: %+v", diff)
	}
	must[api.Model](t, r, "PUT", "/v1/models/aurora", api.ModelDescription{Kind: api.KindProtected})
	must[api.ArtifactAnswer](t, r, "POST", "/v1/models/aurora/versions/7/artifacts", api.NewArtifact{Name: "w", Fingerprint: fingerprintOf(t, 7)})
	if got := open("?model=aurora"); len(got) != 0 {
		t.Errorf("registered, and still waiting: %v", got)
	}
	expect(lab.Path, body, mlflow(lab.Secret, "d7", time.Now(), body), 200, `"announced":0`) // it is there
	waiting := must[api.List[api.Announcement]](t, r, "GET", "/v1/announcements", nil).Items[0]
	must[struct{}](t, r, "POST", "/v1/announcements/"+waiting.ID+"/dismiss", api.Dismissal{Reason: "a mirror"})
	if got, all := open(""), open("?state=all"); len(got) != 0 || len(all) != 2 {
		t.Errorf("waiting %v of %v", got, all)
	}
	for _, x := range must[api.List[api.WebhookSource]](t, r, "GET", "/v1/webhook-sources", nil).Items {
		if x.Secret != "" || x.LastUsed == nil {
			t.Errorf("%+v", x)
		}
	}
	must[struct{}](t, r, "DELETE", "/v1/webhook-sources/"+lab.ID, nil)
	expect(lab.Path, body, mlflow(lab.Secret, "d8", time.Now(), body), 401, "prove")
}

// Who tries secrets is sent away for a while.
func TestWebhookSecretsAreNotGuessed(t *testing.T) {
	r := start(t)
	hub := must[api.WebhookSource](t, r, "POST", "/v1/webhook-sources", api.WebhookSource{Name: "hub", Provider: "huggingface"})
	for n := range 100 {
		status, _ := r.hook(t, hub.Path, "{}", map[string]string{"X-Webhook-Secret": fmt.Sprint("guess", n)})
		if status == http.StatusTooManyRequests {
			return
		}
		if status != http.StatusUnauthorized {
			t.Fatal(status)
		}
	}
	t.Error("a hundred guesses and no end")
}
