// Package identity is who an agent is: a P-256 key that never leaves the machine,
// a short-lived client certificate, the CA that the server must show, and the key
// that signs snapshots and policies.
//
// Enrolment trusts nothing but the one-time token: it carries the pin of the
// server's CA, and a server that cannot show a chain to that CA never sees the
// token's secret.
package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"weightwarden/internal/api"
	"weightwarden/internal/durable"
)

// ErrNotEnrolled is returned by Load where there is no identity yet.
var ErrNotEnrolled = errors.New("this machine is not enrolled")

// file is the one file that holds an identity, so that key and certificate
// cannot come apart.
type file struct {
	AgentID     string `json:"agent_id"`
	Server      string `json:"server"`
	Key         string `json:"key"`
	Certificate string `json:"certificate"`
	CA          string `json:"ca"`
	SnapshotKey string `json:"snapshot_key"`
}

// Identity is an enrolled agent. Its methods are safe for concurrent use.
type Identity struct {
	AgentID     string
	Server      string
	SnapshotKey string // note verifier key
	// Ahead is how far this machine's clock was ahead of the server's when it was
	// enrolled, to a second; known to Enroll alone.
	Ahead  time.Duration
	path   string
	roots  *x509.CertPool
	stored atomic.Pointer[file]
	cert   atomic.Pointer[tls.Certificate]
}

// Path is where the identity lies in a state folder.
func Path(stateDir string) string { return filepath.Join(stateDir, "identity.json") }

// Load reads the identity of a state folder.
func Load(stateDir string) (*Identity, error) {
	b, err := os.ReadFile(Path(stateDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotEnrolled
	}
	if err != nil {
		return nil, err
	}
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", Path(stateDir), err)
	}
	return fromFile(Path(stateDir), &f)
}

func fromFile(path string, f *file) (*Identity, error) {
	id := &Identity{AgentID: f.AgentID, Server: f.Server, SnapshotKey: f.SnapshotKey, path: path, roots: x509.NewCertPool()}
	if f.AgentID == "" || f.Server == "" {
		return nil, fmt.Errorf("%s: agent_id or server is missing", path)
	}
	if !id.roots.AppendCertsFromPEM([]byte(f.CA)) {
		return nil, fmt.Errorf("%s: ca holds no certificate", path)
	}
	if err := id.use(f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return id, nil
}

func (id *Identity) use(f *file) error {
	cert, err := tls.X509KeyPair([]byte(f.Certificate), []byte(f.Key))
	if err != nil {
		return err
	}
	id.cert.Store(&cert)
	id.stored.Store(f)
	return nil
}

// TLS is the client configuration for the server: the pinned CA and nothing
// else, and always the newest certificate.
func (id *Identity) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    id.roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return id.cert.Load(), nil
		},
	}
}

// RenewAt is when two thirds of the certificate's life are over; NotAfter is its end.
func (id *Identity) RenewAt() (at, notAfter time.Time) {
	leaf := id.cert.Load().Leaf
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return leaf.NotBefore.Add(life * 2 / 3), leaf.NotAfter
}

// NewRequest makes a fresh key and a signing request for it.
func NewRequest(name string) (keyPEM, csrPEM string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return "", "", err
	}
	keyPEM = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	csrPEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
	return keyPEM, csrPEM, nil
}

// Renewed takes a new certificate into use, after it is on disk.
func (id *Identity) Renewed(keyPEM string, a *api.EnrollAnswer) error {
	if a.AgentID != id.AgentID {
		return fmt.Errorf("the server renewed as %.80q, this agent is %q", a.AgentID, id.AgentID)
	}
	f := *id.stored.Load()
	f.Key, f.Certificate = keyPEM, a.Certificate
	if _, err := tls.X509KeyPair([]byte(f.Certificate), []byte(f.Key)); err != nil {
		return fmt.Errorf("the renewed certificate: %w", err)
	}
	if err := save(id.path, &f); err != nil {
		return err
	}
	return id.use(&f)
}

func save(path string, f *file) error {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(path, b, 0o600)
}
