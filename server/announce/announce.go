// Package announce reads what model registries tell by webhook: that there is a new
// version of a model. It proves who told it and decodes what it is; it fetches nothing,
// since an address in a webhook is whatever its sender wrote.
//
// MLflow 3.3 and later signs as Standard Webhooks do, with headers and a secret of its
// own: HMAC-SHA256 over "id.timestamp.body", base64, after "v1," (mlflow/webhooks/delivery.py).
// The Hugging Face Hub sends the secret itself, in X-Webhook-Secret
// (huggingface.co/docs/hub/webhooks).
package announce

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"weightwarden/internal/api"
)

// Providers.
const (
	MLflow      = "mlflow"
	HuggingFace = "huggingface"
)

// Limits.
const (
	MaxBody     = 256 << 10       // of a webhook, in bytes
	Window      = 5 * time.Minute // that a signed time may be off, either way
	MinSecret   = 16              // bytes
	MaxSecret   = 256             // bytes
	maxDelivery = 128             // of the id of a delivery, in bytes
	maxText     = 2048            // of what is kept of a text, in bytes
	maxRefs     = 100             // branches and tags of one event that are looked at
)

// Errors of Read, wrapped.
var (
	ErrUnproved  = errors.New("the webhook does not prove who sent it")
	ErrMalformed = errors.New("malformed webhook")
)

// Version is a version of a model that somebody says there is.
type Version struct {
	Model   string // as the registry would name it
	Version string
	Kind    string // api.KindDataset where the provider says so, else ""
	Title   string // the model's name there
	Origin  string // run, source URI or commit
	Who     string // as the provider names it; may be ""
}

// Read checks a webhook of a provider and returns what it announces, which may be
// nothing: most events are about other things. delivery names it, so that it counts
// once; "" where the provider does not say (Hugging Face).
func Read(provider string, secret []byte, h http.Header, body []byte, now time.Time) (list []Version, delivery string, err error) {
	switch provider {
	case MLflow:
		if delivery, err = proveMLflow(secret, h, body, now); err != nil {
			return nil, "", err
		}
		list, err = readMLflow(body)
	case HuggingFace:
		// Comparing digests takes the same time whatever the lengths are.
		want, got := sha256.Sum256(secret), sha256.Sum256([]byte(h.Get("X-Webhook-Secret")))
		if len(secret) == 0 || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			return nil, "", fmt.Errorf("%w: X-Webhook-Secret", ErrUnproved)
		}
		list, err = readHuggingFace(body)
	default:
		return nil, "", fmt.Errorf("%w: provider %.40q", ErrMalformed, provider)
	}
	return list, delivery, err
}

func proveMLflow(secret []byte, h http.Header, body []byte, now time.Time) (string, error) {
	id, stamp := h.Get("X-MLflow-Delivery-Id"), h.Get("X-MLflow-Timestamp")
	if id == "" || len(id) > maxDelivery || len(secret) == 0 {
		return "", fmt.Errorf("%w: X-MLflow-Delivery-Id", ErrUnproved)
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > Window {
		return "", fmt.Errorf("%w: X-MLflow-Timestamp %.40q is not within %v of the server's clock", ErrUnproved, stamp, Window)
	}
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	want := mac.Sum(nil)
	for _, sig := range strings.Fields(h.Get("X-MLflow-Signature")) { // several while a secret is changed
		text, ok := strings.CutPrefix(sig, "v1,")
		got, err := base64.StdEncoding.DecodeString(text)
		if ok && err == nil && hmac.Equal(got, want) {
			return id, nil
		}
	}
	return "", fmt.Errorf("%w: X-MLflow-Signature", ErrUnproved)
}

// readMLflow takes events of the entity model_version; further fields are left alone,
// newer servers have more.
func readMLflow(body []byte) ([]Version, error) {
	var e struct {
		Entity    string `json:"entity"`
		Action    string `json:"action"`
		Workspace string `json:"workspace"`
		Data      struct {
			Name    string            `json:"name"`
			Version json.RawMessage   `json:"version"`
			Source  string            `json:"source"`
			RunID   string            `json:"run_id"`
			Tags    map[string]string `json:"tags"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	if e.Entity != "model_version" || e.Action != "created" {
		return nil, nil
	}
	number := strings.Trim(string(e.Data.Version), `"`) // text, but a number is as good
	v := Version{Model: api.ModelName(e.Data.Name), Version: api.ModelName(number), Title: cut(e.Data.Name), Origin: cut(e.Data.Source), Who: cut(e.Data.Tags["mlflow.user"])}
	if e.Data.RunID != "" {
		v.Origin = cut("run " + e.Data.RunID + " " + e.Data.Source)
	}
	if v.Model == "" || v.Version == "" {
		return nil, fmt.Errorf("%w: a version of a model without name or number", ErrMalformed)
	}
	return []Version{v}, nil
}

// readHuggingFace takes commits on branches and tags of models and data sets; those of
// pull requests (refs/pr/N) are not the repository's yet.
func readHuggingFace(body []byte) ([]Version, error) {
	var e struct {
		Event struct{ Action, Scope string } `json:"event"`
		Repo  struct {
			Type    string `json:"type"`
			Name    string `json:"name"`
			HeadSha string `json:"headSha"`
			URL     struct {
				Web string `json:"web"`
			} `json:"url"`
			Owner struct {
				ID string `json:"id"`
			} `json:"owner"`
		} `json:"repo"`
		Refs []struct {
			Ref    string  `json:"ref"`
			NewSha *string `json:"newSha"`
		} `json:"updatedRefs"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	r := &e.Repo
	content := e.Event.Scope == "repo.content" || strings.HasPrefix(e.Event.Scope, "repo.content.") || e.Event.Scope == "repo" && e.Event.Action == "create"
	if !content || r.Type != "model" && r.Type != "dataset" {
		return nil, nil
	}
	shas := []string{}
	for _, ref := range e.Refs[:min(len(e.Refs), maxRefs)] {
		if ref.NewSha != nil && (strings.HasPrefix(ref.Ref, "refs/heads/") || strings.HasPrefix(ref.Ref, "refs/tags/")) && !slices.Contains(shas, *ref.NewSha) {
			shas = append(shas, *ref.NewSha)
		}
	}
	if len(e.Refs) == 0 && r.HeadSha != "" {
		shas = append(shas, r.HeadSha)
	}
	var list []Version
	for _, sha := range shas {
		v := Version{Model: api.ModelName(strings.ReplaceAll(r.Name, "/", "--")), Version: api.ModelName(sha), Title: cut(r.Name), Origin: cut("commit " + sha), Who: cut(r.Owner.ID)}
		if r.Type == "dataset" {
			v.Kind = api.KindDataset
		}
		if v.Model == "" || v.Version == "" {
			return nil, fmt.Errorf("%w: a commit without repository or digest", ErrMalformed)
		}
		list = append(list, v)
	}
	return list, nil
}

func cut(text string) string {
	text = strings.TrimSpace(strings.ToValidUTF8(text, "\ufffd"))
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "")
	}
	return strings.ReplaceAll(text, "\x00", "\ufffd") // PostgreSQL keeps no such text
}
