package announce

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weightwarden/internal/api"
)

// What MLflow 3.3 sends for a new version, from its own example payload; the signature
// was made with Python's hmac as mlflow/webhooks/delivery.py does it.
const (
	mlflowBody = `{"entity": "model_version", "action": "created", "timestamp": "2026-11-26T07:00:00+00:00", "data": {"name": "example_model", "version": "1", "source": "runs:/abcd1234abcd5678/model", "run_id": "abcd1234abcd5678", "tags": {"example_key": "example_value"}, "description": "An example model version"}}`
	mlflowID   = "6f1f2b8e-6d1c-4b53-9b1e-2f8f7a3f7c11"
	mlflowTime = "1795676400"
	mlflowSig  = "v1,dgfvy8y8w7Y2xHhYLYizLNThIfmwn1EhZVtOz43jhks="
	secretText = "correct horse battery staple"
)

func mlflowHeader() http.Header {
	return http.Header{"X-Mlflow-Delivery-Id": {mlflowID}, "X-Mlflow-Timestamp": {mlflowTime}, "X-Mlflow-Signature": {mlflowSig}}
}

func at(t *testing.T, stamp string) time.Time {
	t.Helper()
	n, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(n, 0)
}

func TestMLflow(t *testing.T) {
	now := at(t, mlflowTime)
	list, id, err := Read(MLflow, []byte(secretText), mlflowHeader(), []byte(mlflowBody), now.Add(Window))
	want := []Version{{Model: "example_model", Version: "1", Title: "example_model", Origin: "run abcd1234abcd5678 runs:/abcd1234abcd5678/model"}}
	if diff := cmp.Diff(want, list); err != nil || diff != "" || id != mlflowID {
		t.Fatalf("%v %q %s", err, id, diff)
	}
	for name, change := range map[string]func(http.Header){
		"none":     func(h http.Header) { h.Del("X-Mlflow-Signature") },
		"bit":      func(h http.Header) { h.Set("X-Mlflow-Signature", strings.Replace(mlflowSig, "v1,", "v1,A", 1)) },
		"version":  func(h http.Header) { h.Set("X-Mlflow-Signature", strings.Replace(mlflowSig, "v1,", "v2,", 1)) },
		"id":       func(h http.Header) { h.Set("X-Mlflow-Delivery-Id", mlflowID+"1") },
		"no id":    func(h http.Header) { h.Del("X-Mlflow-Delivery-Id") },
		"long id":  func(h http.Header) { h.Set("X-Mlflow-Delivery-Id", strings.Repeat("a", 200)) },
		"time":     func(h http.Header) { h.Set("X-Mlflow-Timestamp", "1795676401") },
		"no time":  func(h http.Header) { h.Set("X-Mlflow-Timestamp", "now") },
		"far time": func(h http.Header) { h.Set("X-Mlflow-Timestamp", "-9223372036854775808") },
		"form":     func(h http.Header) { h.Set("X-Mlflow-Signature", "v1,%%%") },
		"other's": func(h http.Header) {
			h.Set("X-Mlflow-Signature", sign("another secret, long", mlflowID, mlflowTime, mlflowBody))
		},
		"forgotten": func(h http.Header) { clear(h) },
	} {
		h := mlflowHeader()
		change(h)
		if list, _, err := Read(MLflow, []byte(secretText), h, []byte(mlflowBody), now); !errors.Is(err, ErrUnproved) || list != nil {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
	for _, late := range []time.Duration{Window + time.Second, -Window - time.Second} {
		if _, _, err := Read(MLflow, []byte(secretText), mlflowHeader(), []byte(mlflowBody), now.Add(late)); !errors.Is(err, ErrUnproved) {
			t.Errorf("%v off: %v", late, err)
		}
	}
	if _, _, err := Read(MLflow, []byte(secretText), mlflowHeader(), []byte(mlflowBody+" "), now); !errors.Is(err, ErrUnproved) {
		t.Errorf("another body: %v", err)
	}
	if _, _, err := Read(MLflow, nil, mlflowHeader(), []byte(mlflowBody), now); !errors.Is(err, ErrUnproved) {
		t.Errorf("no secret: %v", err)
	}
	h := mlflowHeader() // while the secret is changed there are two
	h.Set("X-Mlflow-Signature", "v1,AAAA "+mlflowSig)
	if list, _, err := Read(MLflow, []byte(secretText), h, []byte(mlflowBody), now); err != nil || len(list) != 1 {
		t.Errorf("two signatures: %v", err)
	}
}

func sign(secret, id, stamp, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(id + "." + stamp + "." + body))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func readSigned(t *testing.T, body string) ([]Version, error) {
	t.Helper()
	h := mlflowHeader()
	h.Set("X-Mlflow-Signature", sign(secretText, mlflowID, mlflowTime, body))
	list, _, err := Read(MLflow, []byte(secretText), h, []byte(body), at(t, mlflowTime))
	return list, err
}

func TestMLflowEvents(t *testing.T) {
	for body, want := range map[string]string{
		`{"entity":"registered_model","action":"created","data":{"name":"x"}}`:                                                            "",
		`{"entity":"model_version_tag","action":"set","data":{"name":"x","version":"1","key":"k"}}`:                                       "",
		`{"entity":"model_version","action":"created","data":{"name":"main.team a.x/y","version":7,"later":{}}}`:                          "main.team-a.x-y 7",
		`{"entity":"model_version","action":"created","data":{"name":"x","version":"2","run_id":null,"tags":null}}`:                       "x 2",
		`{"entity":"model_version","action":"created","workspace":"w","data":{"name":"` + strings.Repeat("é", 300) + `z","version":"2"}}`: "z 2",
	} {
		list, err := readSigned(t, body)
		got := ""
		for _, v := range list {
			got = v.Model + " " + v.Version
		}
		if err != nil || got != want {
			t.Errorf("%.80s: %q, %v; want %q", body, got, err, want)
		}
	}
	for _, bad := range []string{``, `[]`, `{"entity":1}`, `{"entity":"model_version","action":"created","data":{"name":"..","version":"1"}}`, `{"entity":"model_version","action":"created","data":{"name":"x"}}`} {
		if list, err := readSigned(t, bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%.80s: %v %v", bad, list, err)
		}
	}
}

func hub(scope, rest string) string {
	return `{"event":{"action":"update","scope":"` + scope + `"},"repo":{"type":"model","name":"some-user/some-repo","id":"6366c000a2abcdf2fd69a080","private":false,
		"url":{"web":"https://huggingface.co/some-user/some-repo"},"headSha":"c379e821c9c95d613899e8c4343e4bfee2b0c600","owner":{"id":"61d2000c3c2083e1c08af22d"}}` + rest + `,"webhook":{"id":"6390e855e30d9209411de93b","version":3}}`
}

func TestHuggingFace(t *testing.T) {
	refs := `,"updatedRefs":[{"ref":"refs/heads/main","oldSha":"ce9a4674fa833a68d5a73ec355f0ea95eedd60b7","newSha":"575db8b7a51b6f85eb06eee540738584589f131c"},
		{"ref":"refs/tags/test","oldSha":null,"newSha":"575db8b7a51b6f85eb06eee540738584589f131c"},{"ref":"refs/heads/old","oldSha":"aa","newSha":null},{"ref":"refs/pr/3","oldSha":null,"newSha":"ffff"}]`
	h := http.Header{"X-Webhook-Secret": {secretText}}
	read := func(body string) ([]Version, error) {
		list, id, err := Read(HuggingFace, []byte(secretText), h, []byte(body), time.Time{})
		if id != "" {
			t.Errorf("delivery %q", id)
		}
		return list, err
	}
	list, err := read(hub("repo.content", refs))
	want := []Version{{Model: "some-user--some-repo", Version: "575db8b7a51b6f85eb06eee540738584589f131c", Title: "some-user/some-repo", Origin: "commit 575db8b7a51b6f85eb06eee540738584589f131c", Who: "61d2000c3c2083e1c08af22d"}}
	if diff := cmp.Diff(want, list); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for body, n := range map[string]int{
		hub("repo.content", ""): 1, hub("repo.content.future", refs): 1, hub("repo.config", ""): 0, hub("discussion", ""): 0, hub("repo", ""): 0,
		strings.Replace(hub("repo", ""), `"update"`, `"create"`, 1): 1, strings.Replace(hub("repo.content", refs), `"model"`, `"space"`, 1): 0,
		hub("repo.content", `,"updatedRefs":[{"ref":"refs/pr/3","newSha":"ffff"}]`): 0,
	} {
		if list, err := read(body); err != nil || len(list) != n {
			t.Errorf("%.100s: %v, %v; want %d", body, list, err, n)
		}
	}
	if list, err := read(strings.Replace(hub("repo.content", refs), `"model"`, `"dataset"`, 1)); err != nil || len(list) != 1 || list[0].Kind != api.KindDataset {
		t.Errorf("%v %v", list, err)
	}
	if _, err := read(strings.Replace(hub("repo.content", refs), "some-user/some-repo", "/", 1)); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
	for _, bad := range []string{"", secretText + " ", secretText[1:], "wrong"} {
		if _, _, err := Read(HuggingFace, []byte(secretText), http.Header{"X-Webhook-Secret": {bad}}, []byte(hub("repo.content", refs)), time.Time{}); !errors.Is(err, ErrUnproved) {
			t.Errorf("secret %q: %v", bad, err)
		}
	}
	if _, _, err := Read(HuggingFace, nil, http.Header{}, []byte(hub("repo.content", refs)), time.Time{}); !errors.Is(err, ErrUnproved) {
		t.Errorf("no secret at all: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(mlflowBody))
	f.Add([]byte(hub("repo.content", `,"updatedRefs":[{"ref":"refs/heads/main","newSha":"ab"}]`)))
	f.Add([]byte(`{"entity":"model_version","action":"created","data":{"name":"\u0000é","version":-1e9}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		h := http.Header{"X-Webhook-Secret": {secretText}}
		list, _, err := Read(HuggingFace, []byte(secretText), h, body, time.Time{})
		more, merr := readSigned(t, string(body))
		if !json.Valid(body) && (err == nil || merr == nil) {
			t.Fatal("took what is no JSON")
		}
		for _, v := range append(list, more...) {
			if v.Model == "" || v.Version == "" || v.Model != api.ModelName(v.Model) || v.Version != api.ModelName(v.Version) || len(v.Title)+len(v.Origin)+len(v.Who) > 3*maxText {
				t.Fatalf("%+v", v)
			}
		}
	})
}
