package demodata

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/zeebo/blake3"

	"weightwarden/fingerprint"
	"weightwarden/internal/api"
	"weightwarden/internal/policy"
	"weightwarden/server/store"
)

// model is a made-up model: a transformer of some layers.
type model struct {
	api.Model
	layers int
	width  int64
	files  []file
}

type file struct {
	version, name, format, content string
	size                           int64
}

func models() []model {
	m := func(name, kind, owner string, tier, layers int, width int64, regulated bool, note string) model {
		return model{Model: api.Model{Name: name, Kind: kind, Owner: owner, Tier: tier, Regulated: regulated, Note: note}, layers: layers, width: width}
	}
	return []model{
		m("aurora-70b", api.KindProtected, "Foundation models", 1, 80, 8192, false, "Flagship. Weights never leave the training hall."),
		m("aurora-7b", api.KindProtected, "Foundation models", 1, 32, 4096, false, ""),
		m("aurora-reward", api.KindProtected, "Alignment", 1, 32, 4096, false, "Reward model of the aurora line"),
		m("borealis-embed", api.KindProtected, "Search", 2, 24, 1024, false, ""),
		m("cirrus-vision", api.KindProtected, "Perception", 2, 24, 1280, false, ""),
		m("delta-speech", api.KindProtected, "Speech", 3, 12, 768, false, ""),
		m("medline-coder", api.KindProtected, "Health", 1, 28, 3072, true, "Trained on patient records: regulated"),
		m("tabular-risk", api.KindProtected, "Risk", 4, 6, 256, false, ""),
		m("clinic-notes-2025", api.KindDataset, "Health", 2, 1, 1024, true, "Training set, tokenised"),
		m("open-base-8b", api.KindPublic, "", 0, 32, 4096, false, "Public base model: copies are nobody's secret"),
	}
}

// noise is a source of bytes that only a seed decides.
type noise struct{ sum []byte }

func newNoise(seed string) *noise {
	h := blake3.New()
	_, _ = h.WriteString(seed) // a hash in memory takes everything
	out := make([]byte, 64<<10)
	_, _ = h.Digest().Read(out)
	return &noise{out}
}

// Size is in bytes.
func (n *noise) Size() int64 { return int64(len(n.sum)) }

// ReadAt reads as io.ReaderAt says.
func (n *noise) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= n.Size() {
		return 0, io.EOF
	}
	c := copy(p, n.sum[off:])
	if c < len(p) {
		return c, io.EOF
	}
	return c, nil
}

func digestOf(text string) string {
	sum := blake3.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func (m *model) parameters() int64 { return int64(m.layers)*12*m.width*m.width + 2*32000*m.width }
func (m *model) tensors() int      { return m.layers*len(parts()) + 3 }

func (w *world) addModels() error {
	by := w.people[registrar]
	for i, m := range models() {
		w.Clock.forward(w.now.Add(-Span + time.Duration(20+7*i)*time.Minute))
		if err := w.Store.PutModel(w.ctx, by, m.Model); err != nil {
			return err
		}
		versions := []string{"1.0"}
		if m.Tier == 1 {
			versions = []string{"1.0", "1.1", "2.0-rc1"}
		}
		for j, v := range versions {
			if err := w.addVersion(by, &m, v, j); err != nil {
				return err
			}
		}
		w.models = append(w.models, m)
	}
	_, err := w.Publish(w.ctx, "first models")
	return err
}

func (w *world) addVersion(by store.Actor, m *model, version string, n int) error {
	for _, kind := range []struct{ format, end string }{{"safetensors", ".safetensors"}, {"gguf", "-q8.gguf"}} {
		f := file{version: version, name: m.Name + "-" + version + kind.end, format: kind.format, size: m.parameters() * 2}
		if kind.format == "gguf" {
			if n > 0 || m.Kind != api.KindProtected {
				continue
			}
			f.size /= 2
		}
		f.content = digestOf(m.Name + version + kind.format)
		fp, err := fingerprint.Compute(w.ctx, newNoise(f.content), nil, fingerprint.Options{Register: true})
		if err != nil {
			return fmt.Errorf("fingerprint of %s: %w", f.name, err)
		}
		encoded := fp.Encode()
		sum := blake3.Sum256(encoded)
		a := store.ArtifactFingerprint{Model: m.Name, Version: version, Kind: m.Kind, Fingerprint: encoded, Artifact: api.Artifact{Name: f.name,
			Format: f.format, Size: f.size, Tensors: m.tensors(), Parameters: m.parameters(), Content: f.content}}
		source := fmt.Sprintf("https://ci.example.org/runs/%d", 4100+37*len(m.Name)+n)
		if _, _, err := w.Store.AddArtifact(w.ctx, by, a, hex.EncodeToString(sum[:]), source); err != nil {
			return err
		}
		m.files = append(m.files, f)
	}
	return nil
}

// addRules adds authorisations, policies, retention and a legal hold.
func (w *world) addRules() error {
	until := w.now.Add(60 * 24 * time.Hour)
	var err error
	allow := func(a store.Authorisation, second bool) {
		added, e := w.Store.AddAuthorisation(w.ctx, w.people[analyst], a)
		if err = errors.Join(err, e); e == nil && second {
			err = errors.Join(err, w.Store.ApproveAuthorisation(w.ctx, w.people[lead], added.ID))
		}
	}
	for _, name := range []string{"aurora-70b", "aurora-7b", "borealis-embed", "cirrus-vision", "delta-speech", "medline-coder"} {
		allow(store.Authorisation{Model: name, Host: "serve-*", Path: "/srv/models/**", Reason: "production serving", Expires: until}, true)
	}
	allow(store.Authorisation{Model: "aurora-7b", Host: "eval-0*", User: "evals", Reason: "weekly evaluation, RES-212", Expires: w.now.Add(6 * 24 * time.Hour)}, true)
	allow(store.Authorisation{Model: "aurora-reward", Host: "train-*", User: "rlhf", Path: "/data/**", Reason: "RLHF run 9", Expires: w.now.Add(20 * 24 * time.Hour)}, false)
	allow(store.Authorisation{Model: "delta-speech", User: "j.novak", Reason: "on-device port", Expires: w.now.Add(-36 * time.Hour)}, false)
	for _, p := range []store.Policy{
		{Name: "default", Note: "Tell, touch nothing"},
		{Name: "workstations", Selector: map[string]string{"role": "workstation"}, Priority: 10, Note: "Copies on removable media are moved aside",
			Rules: policy.Rules{Verdicts: []string{"IDENTICAL", "REPACKAGED", "CAST"}, Destinations: []string{"removable", "cloud_sync"}}},
		{Name: "training hall", Selector: map[string]string{"site": "hall"}, Priority: 20, Note: "Only the trainer and the server open weights",
			Rules: policy.Rules{AllowPaths: []string{"/data", "/srv/models"}, AllowPrograms: []string{"/usr/bin/python3.12", "/opt/serve/bin/server"}}},
	} {
		_, e := w.Store.PutPolicy(w.ctx, w.people[lead], p)
		err = errors.Join(err, e)
	}
	err = errors.Join(err, w.Store.SetRetention(w.ctx, w.people[lead], store.Retention{Hits: 400, Alerts: 730, Copies: 180, Deliveries: 30, Sweeps: 365}))
	_, e := w.Store.AddHold(w.ctx, w.people[lead], store.Hold{Kind: store.HoldUser, Ref: "p.marsh", Reason: "LEGAL-88: keep until counsel says otherwise"})
	return errors.Join(err, e)
}
