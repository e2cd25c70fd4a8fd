// Package agenttest has what tests of the agent need: a server in memory that
// keeps the contract of internal/api over real TLS, and a judge that knows files
// by their BLAKE3.
package agenttest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/mod/sumdb/note"

	"weightwarden/internal/api"
	"weightwarden/internal/snapshot"
)

// Server is a server in memory. Its methods are safe for concurrent use.
type Server struct {
	HTTP  *httptest.Server
	Token api.EnrolToken

	tb     testing.TB
	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	caPEM  string
	signer note.Signer
	key    string

	mu       sync.Mutex
	used     bool
	down     int // answer this status to everything; 0: work
	after    string
	life     time.Duration
	hits     map[HitID]api.Hit
	received int
	refuse   func(api.Hit) string
	beats    []api.Heartbeat
	renewals int
	manifest []byte
	policy   []byte
	revision int64         // of the policies
	asked    int           // how often the policy was asked for
	ahead    time.Duration // of the clock that is told to agents
	blobs    map[string][]byte
	sent     int // bytes of blobs
	epoch    int64
	sweeps   []api.Sweep
}

// HitID is the identity of a hit.
type HitID struct {
	Agent, Epoch string
	Seq          uint64
}

// NewServer starts a server that ends with the test.
func NewServer(tb testing.TB) *Server {
	tb.Helper()
	return NewServerOn(tb, nil, time.Hour)
}

// NewServerOn is NewServer on a listener, nil for a free port, with certificates
// that are valid for a time.
func NewServerOn(tb testing.TB, l net.Listener, life time.Duration) *Server {
	tb.Helper()
	s := &Server{tb: tb, hits: map[HitID]api.Hit{}, blobs: map[string][]byte{}, life: life}
	s.makeCA()
	s.Token = api.NewEnrolToken(api.PinOf(s.ca))
	signer, verifier, err := snapshot.NewKey("test")
	if err != nil {
		tb.Fatal(err)
	}
	if s.signer, err = note.NewSigner(signer); err != nil {
		tb.Fatal(err)
	}
	s.key = verifier
	pool := x509.NewCertPool()
	pool.AddCert(s.ca)
	s.HTTP = httptest.NewUnstartedServer(s.routes())
	if l != nil {
		s.HTTP.Listener.Close()
		s.HTTP.Listener = l
	}
	s.HTTP.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{s.serverCert()},
		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}
	s.HTTP.StartTLS()
	tb.Cleanup(s.HTTP.Close)
	return s
}

func (s *Server) check(err error) {
	if err != nil {
		s.tb.Fatal(err)
	}
}

func (s *Server) makeCA() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.check(err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * s.life), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	s.check(err)
	s.ca, err = x509.ParseCertificate(der)
	s.check(err)
	s.caKey = key
	s.caPEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (s *Server) serverCert() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.check(err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(s.life),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, s.ca, &key.PublicKey, s.caKey)
	s.check(err)
	return tls.Certificate{Certificate: [][]byte{der, s.ca.Raw}, PrivateKey: key}
}

func (s *Server) clientCert(csrPEM, id string) (string, time.Time, error) {
	block, _ := pem.Decode([]byte(csrPEM))
	if block == nil {
		return "", time.Time{}, fmt.Errorf("no CSR")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return "", time.Time{}, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return "", time.Time{}, err
	}
	until := time.Now().Add(s.life)
	tmpl := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: id}, NotBefore: time.Now().Add(-time.Second),
		NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, s.ca, csr.PublicKey, s.caKey)
	if err != nil {
		return "", time.Time{}, err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), until, nil
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.PathEnroll, s.enroll)
	mux.HandleFunc("POST "+api.PathRenew, s.asAgent(s.renew))
	mux.HandleFunc("POST "+api.PathHits, s.asAgent(s.takeHits))
	mux.HandleFunc("POST "+api.PathHeartbeat, s.asAgent(s.heartbeat))
	mux.HandleFunc("GET "+api.PathManifest, s.asAgent(s.getManifest))
	mux.HandleFunc("GET "+api.PathPolicy, s.asAgent(s.getPolicy))
	mux.HandleFunc("GET "+api.PathBlob+"{sum}", s.asAgent(s.getBlob))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		down, after := s.down, s.after
		s.mu.Unlock()
		if down != 0 {
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			problem(w, down, "down for the test")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func problem(w http.ResponseWriter, status int, title string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(api.Problem{Title: title, Status: status})
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// asAgent passes requests with a client certificate on.
func (s *Server) asAgent(f func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			problem(w, http.StatusUnauthorized, "no client certificate")
			return
		}
		f(w, r, r.TLS.PeerCertificates[0].Subject.CommonName)
	}
}

func (s *Server) enroll(w http.ResponseWriter, r *http.Request) {
	var req api.EnrollRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	s.mu.Lock()
	ok := !s.used && req.Token == s.Token.String()
	s.used = s.used || ok
	s.mu.Unlock()
	if !ok {
		problem(w, http.StatusForbidden, "token is used or unknown")
		return
	}
	s.answer(w, req.CSR, "agent-1")
}

func (s *Server) answer(w http.ResponseWriter, csr, id string) {
	cert, until, err := s.clientCert(csr, id)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	reply(w, api.EnrollAnswer{AgentID: id, Certificate: cert, CA: s.caPEM, SnapshotKey: s.key, NotAfter: until})
}

func (s *Server) renew(w http.ResponseWriter, r *http.Request, id string) {
	var req api.RenewRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	s.mu.Lock()
	s.renewals++
	s.mu.Unlock()
	s.answer(w, req.CSR, id)
}

func (s *Server) takeHits(w http.ResponseWriter, r *http.Request, id string) {
	var b api.HitBatch
	if err := json.NewDecoder(r.Body).Decode(&b); err != nil || len(b.Hits) == 0 {
		problem(w, http.StatusBadRequest, "batch")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var ans api.HitAnswer
	for _, h := range b.Hits {
		s.received++
		if s.refuse != nil {
			if reason := s.refuse(h); reason != "" {
				ans.Rejected = append(ans.Rejected, api.Rejected{Seq: h.Seq, Reason: reason})
				ans.Acknowledged = h.Seq
				continue
			}
		}
		k := HitID{id, h.Epoch, h.Seq}
		if old, ok := s.hits[k]; ok && old.Verdict.Path != h.Verdict.Path {
			s.tb.Errorf("hit %+v is %q and %q", k, old.Verdict.Path, h.Verdict.Path)
		}
		s.hits[k] = h
		ans.Acknowledged = h.Seq
	}
	reply(w, ans)
}

func (s *Server) heartbeat(w http.ResponseWriter, r *http.Request, _ string) {
	var b api.Heartbeat
	if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beats = append(s.beats, b)
	reply(w, api.HeartbeatAnswer{Snapshot: s.epoch, Policy: s.revision, Now: time.Now().Add(s.ahead), Sweeps: s.sweeps})
}

func (s *Server) getManifest(w http.ResponseWriter, _ *http.Request, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.manifest == nil {
		problem(w, http.StatusNotFound, "nothing is registered")
		return
	}
	_, _ = w.Write(s.manifest)
}

func (s *Server) getBlob(w http.ResponseWriter, r *http.Request, _ string) {
	s.mu.Lock()
	b, ok := s.blobs[r.PathValue("sum")]
	s.sent += len(b)
	s.mu.Unlock()
	if !ok {
		problem(w, http.StatusNotFound, "no such blob")
		return
	}
	_, _ = w.Write(b)
}

// Delta is what a manifest is to name as leading to its registry from an epoch before.
type Delta struct {
	From int64
	Body []byte
}

// Publish makes registry the snapshot of an epoch.
func (s *Server) Publish(epoch int64, registry []byte, deltas ...Delta) {
	sum := blake3.Sum256(registry)
	name := hex.EncodeToString(sum[:])
	m := &snapshot.Manifest{Epoch: epoch, Created: time.Now().UTC(), Expires: time.Now().Add(time.Hour).UTC(),
		Blobs: []snapshot.Blob{{Kind: snapshot.BlobFull, BLAKE3: name, Bytes: int64(len(registry))}}}
	more := map[string][]byte{}
	for _, d := range deltas {
		sum := blake3.Sum256(d.Body)
		more[hex.EncodeToString(sum[:])] = d.Body
		m.Blobs = append(m.Blobs, snapshot.Blob{Kind: snapshot.BlobDelta, From: d.From, BLAKE3: hex.EncodeToString(sum[:]), Bytes: int64(len(d.Body))})
	}
	text, err := snapshot.SignManifest(m, s.signer)
	s.check(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.blobs, more)
	s.manifest, s.epoch, s.blobs[name] = text, epoch, registry
}

// Manifest is what is served as the newest manifest.
func (s *Server) Manifest() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.manifest)
}

// Sent is how many bytes of blobs were sent since it was asked last.
func (s *Server) Sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.sent
	s.sent = 0
	return n
}

// PublishAs serves a manifest signed by another key (nil: the server's own) that
// expires after life, which may lie in the past. Heartbeats do not tell of it.
func (s *Server) PublishAs(signer note.Signer, epoch int64, registry []byte, life time.Duration) {
	if signer == nil {
		signer = s.signer
	}
	sum := blake3.Sum256(registry)
	name := hex.EncodeToString(sum[:])
	now := time.Now().UTC()
	m := &snapshot.Manifest{Epoch: epoch, Created: now.Add(-time.Hour), Expires: now.Add(life), Blobs: []snapshot.Blob{{Kind: snapshot.BlobFull, BLAKE3: name, Bytes: int64(len(registry))}}}
	text, err := snapshot.SignManifest(m, signer)
	s.check(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifest, s.blobs[name] = text, registry
}

// PublishRaw serves any bytes as manifest.
func (s *Server) PublishRaw(text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifest = text
}

// SpoilBlobs flips a bit in every blob.
func (s *Server) SpoilBlobs() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, b := range s.blobs {
		spoilt := []byte(strings.Clone(string(b)))
		spoilt[len(spoilt)/2] ^= 1
		s.blobs[name] = spoilt
	}
}

// Down makes the server answer status to everything; 0 makes it work again.
func (s *Server) Down(status int, retryAfter string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down, s.after = status, retryAfter
}

// Refuse rejects hits for good when f gives a reason.
func (s *Server) Refuse(f func(api.Hit) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

// ClockAhead sets the clock that is told to agents so much ahead of the real one.
func (s *Server) ClockAhead(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead = d
}

// CertificateLife is how long client certificates are valid.
func (s *Server) CertificateLife(d time.Duration) { s.life = d }

// Hits returns what is stored, and how many hits were received with repetitions.
func (s *Server) Hits() (stored []api.Hit, received int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hits {
		stored = append(stored, h)
	}
	return stored, s.received
}

// Heartbeats returns the heartbeats so far.
func (s *Server) Heartbeats() []api.Heartbeat {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]api.Heartbeat(nil), s.beats...)
}

// Renewals counts renewed certificates.
func (s *Server) Renewals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewals
}
