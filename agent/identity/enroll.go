package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"weightwarden/internal/api"
)

// Enroll turns a one-time token into an identity and keeps it in the state
// folder. An identity that is there already is not replaced.
func Enroll(ctx context.Context, stateDir, server, token string, host api.Host, version string) (*Identity, error) {
	return EnrollThrough(ctx, nil, stateDir, server, token, host, version)
}

// EnrollThrough is Enroll with connections made by dial; nil: as usual.
func EnrollThrough(ctx context.Context, dial func(ctx context.Context, network, addr string) (net.Conn, error), stateDir, server, token string,
	host api.Host, version string) (*Identity, error) {
	if _, err := os.Stat(Path(stateDir)); err == nil {
		return nil, fmt.Errorf("%s exists: %w", Path(stateDir), ErrEnrolled)
	}
	tok, err := api.ParseEnrolToken(token)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(strings.TrimRight(server, "/"))
	if err != nil || base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("%.200q is %w", server, ErrServerURL)
	}
	key, csr, err := NewRequest(host.Name)
	if err != nil {
		return nil, err
	}
	answer, err := request(ctx, dial, base, tok, api.EnrollRequest{Token: tok.String(), CSR: csr, Host: host, Version: version})
	if err != nil {
		return nil, err
	}
	if err := checkCA(answer.CA, tok.Pin); err != nil {
		return nil, err
	}
	f := &file{AgentID: answer.AgentID, Server: base.String(), Key: key, Certificate: answer.Certificate, CA: answer.CA, SnapshotKey: answer.SnapshotKey}
	id, err := fromFile(Path(stateDir), f)
	if err != nil {
		return nil, fmt.Errorf("the server's answer: %w", err)
	}
	id.Ahead = answer.ahead
	return id, save(Path(stateDir), f)
}

// answered is the server's answer, and how far this machine's clock is ahead of it.
type answered struct {
	api.EnrollAnswer
	ahead time.Duration
}

func request(ctx context.Context, dial func(ctx context.Context, network, addr string) (net.Conn, error), base *url.URL, tok api.EnrolToken, body api.EnrollRequest) (*answered, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	// A connection of its own: it must be verified by the pin, and by nothing else.
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: dial, TLSClientConfig: pinned(tok.Pin, base.Hostname()), Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base.JoinPath(api.PathEnroll).String(), bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return nil, refusal(resp.StatusCode, text)
	}
	var answer answered
	if err := json.Unmarshal(text, &answer.EnrollAnswer); err != nil {
		return nil, fmt.Errorf("the server's answer: %w", err)
	}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		answer.ahead = time.Since(at)
	}
	return &answer, nil
}

func refusal(status int, text []byte) error {
	var p api.Problem
	if json.Unmarshal(text, &p) == nil && p.Title != "" {
		return &Refused{status, fmt.Sprintf("%.200s %.400s", p.Title, p.Detail)}
	}
	return &Refused{status, fmt.Sprintf("%.80q", text)}
}

// pinned verifies a server by the pin of its CA: the chain it shows must hold the
// CA certificate itself, and lead to it under the server's name.
func pinned(pin api.CAPin, name string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // the default check knows no pins; VerifyConnection replaces it
		VerifyConnection: func(cs tls.ConnectionState) error {
			return verifyPin(cs.PeerCertificates, pin, name, time.Now())
		},
	}
}

func verifyPin(chain []*x509.Certificate, pin api.CAPin, name string, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("the server shows no certificate")
	}
	roots, inter := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, c := range chain[1:] {
		if api.PinOf(c) == pin && c.IsCA {
			roots.AddCert(c)
			found = true
		} else {
			inter.AddCert(c)
		}
	}
	if !found {
		return fmt.Errorf("%w (pin %s): wrong server, or somebody in between", ErrPin, pin)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: inter, DNSName: name, CurrentTime: now})
	return err
}

func checkCA(text string, pin api.CAPin) error {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return errors.New("the server's answer holds no CA certificate")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("the server's CA: %w", err)
	}
	if api.PinOf(ca) != pin {
		return errors.New("the server sent another CA than the token names")
	}
	return nil
}
