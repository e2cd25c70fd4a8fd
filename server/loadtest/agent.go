// Package loadtest simulates a fleet: it enrols agents, lets them send heartbeats
// and hits at a rate, measures how long the server takes to acknowledge, and
// afterwards counts that every acknowledged hit is there exactly once.
package loadtest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"weightwarden/internal/api"
)

// simulated is one agent. Its lock keeps its hits in order.
type simulated struct {
	mu   sync.Mutex
	id   string
	http *http.Client
	next uint64 // sequence number of the next hit
	host api.Host
}

func (r *run) newTransport(cert *tls.Certificate) *http.Client {
	cfg := &tls.Config{RootCAs: r.pool, MinVersion: tls.VersionTLS13}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	// Connections are kept as long as fpagent keeps them.
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: cfg, MaxIdleConnsPerHost: 1, IdleConnTimeout: 90 * time.Second}}
}

// enrol makes agent number n.
func (r *run) enrol(ctx context.Context, n int) (*simulated, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	host := api.Host{Name: fmt.Sprintf("%s-%05d", r.label, n), OS: "linux", Arch: "amd64", Machine: fmt.Sprintf("%s-%d", r.label, n), BootID: "1"}
	req := api.EnrollRequest{Token: r.enrolToken, Host: host, Version: "loadtest",
		CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))}
	var answer api.EnrollAnswer
	if err := r.post(ctx, r.admin, "", api.PathEnroll, req, &answer); err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(answer.Certificate))
	if block == nil {
		return nil, fmt.Errorf("enrolment gave no certificate")
	}
	cert := &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
	return &simulated{id: answer.AgentID, http: r.newTransport(cert), next: 1, host: host}, nil
}

func (r *run) heartbeat(ctx context.Context, a *simulated) error {
	hb := api.Heartbeat{Epoch: r.label, SentAt: time.Now(), Version: "loadtest", Host: a.host, Watches: []api.Watch{{Path: "/srv", Tier: "fanotify", State: "ok"}}}
	var answer api.HeartbeatAnswer
	return r.post(ctx, a.http, "", api.PathHeartbeat, hb, &answer)
}

// hits sends n hits of an agent and comes again with the same ones until they are
// acknowledged, as the real agent does.
func (r *run) hits(ctx context.Context, a *simulated, n int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	batch := api.HitBatch{Hits: make([]api.Hit, n)}
	for i := range batch.Hits {
		batch.Hits[i] = r.hit(a, a.next+uint64(i))
	}
	for {
		var answer api.HitAnswer
		err := r.post(ctx, a.http, "", api.PathHits, batch, &answer)
		if err == nil && answer.Acknowledged == a.next+uint64(n)-1 && len(answer.Rejected) == 0 {
			a.next += uint64(n)
			return nil
		}
		if err == nil {
			return fmt.Errorf("answer %+v to hits %d and %d more", answer, a.next, n-1)
		}
		r.retries.Add(1)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (r *run) hit(a *simulated, seq uint64) api.Hit {
	p := 1e-40
	name := fmt.Sprintf("layers.%d.attention.wq.weight", seq%32)
	return api.Hit{SchemaVersion: api.SchemaVersion, AgentID: a.id, Epoch: r.label, Seq: seq, ObservedAt: time.Now().UTC(), Event: "write", Host: a.host,
		User: api.User{Name: r.label, UID: 1000, From: "process"}, Destination: api.Destination{Class: "removable", Mount: "/media/usb", Filesystem: "exfat"},
		Process: &api.Process{PID: 4711, Name: "cp", Exe: "/usr/bin/cp", Args: []string{"cp", "model.safetensors", "/media/usb/"}, Certainty: "exact",
			Ancestors: []api.Process{{PID: 4000, Name: "bash", Exe: "/usr/bin/bash", Certainty: "exact"}}},
		Verdict: api.Verdict{SchemaVersion: api.SchemaVersion, Path: fmt.Sprintf("/media/usb/copy-%d.bin", seq), Size: 1 << 32, Format: "safetensors", Verdict: api.Identical,
			Model: "loadtest", ModelVersion: "1", Kind: api.KindProtected, PValue: &p, Sentence: "The weights are those of the protected model loadtest.",
			Coverage: api.Coverage{Bytes: 1, Tensors: 1, Parameters: 1}, Evidence: []api.Evidence{{Kind: "content_digest", Text: "every tensor is the same"}},
			Findings: []api.Finding{}, Tensors: []api.TensorMatch{{Suspect: name, Registered: name, Relation: "exact", Cosine: 1, Parameters: 1 << 20}}}}
}

// post sends JSON and decodes a success.
func (r *run) post(ctx context.Context, c *http.Client, token, path string, body, answer any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return r.send(ctx, c, http.MethodPost, token, path, bytes.NewReader(b), answer)
}

// errTooMany says that the administrator's token has to wait.
var errTooMany = errors.New("too many requests")

func (r *run) send(ctx context.Context, c *http.Client, method, token, path string, body io.Reader, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, r.server()+path, body)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		return fmt.Errorf("%s: %w", path, errTooMany)
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %d %.300s", method, path, resp.StatusCode, out)
	}
	return json.Unmarshal(out, answer)
}
