package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/server/audit"
	"weightwarden/server/store"
	"weightwarden/server/store/storetest"
)

// TestMain lets the test binary be the server that the test kills.
func TestMain(m *testing.M) {
	if os.Getenv("FPSERVER_TEST_CHILD") != "" {
		env := &cli.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
		os.Exit(program().Run(context.Background(), env, os.Args[1:]))
	}
	os.Exit(m.Run())
}

type child struct {
	cmd *exec.Cmd
	url string
}

// startChild starts a server and waits for the line that says where it listens.
func startChild(t *testing.T, data, listen, database string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "serve", "--data", data, "--listen", listen, "--database-url", database, "--token-rate", "10000")
	cmd.Env = append(os.Environ(), "FPSERVER_TEST_CHILD=1")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			return &child{cmd, url}
		}
	}
	t.Fatalf("the server ended without a word: %v", cmd.Wait())
	return nil
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait() // "signal: killed" is what is wanted
}

func post(c *http.Client, url, token string, body, answer any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest("POST", url, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%d %s", resp.StatusCode, out)
	}
	return json.Unmarshal(out, answer)
}

// enrolled makes an agent by the API and returns its id and client.
func enrolled(t *testing.T, data, url string) (string, *http.Client, *http.Client, string) {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(data, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(data, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(string(text))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	admin := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	var tok api.TokenAnswer
	if err := post(admin, url+api.PathEnrolTokens, token, api.EnrolTokenRequest{Uses: 1}, &tok); err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	var id api.EnrollAnswer
	if err := post(admin, url+api.PathEnroll, "", api.EnrollRequest{Token: tok.Token, CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))}, &id); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(id.Certificate))
	cert := tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
	agent := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}}, Timeout: 20 * time.Second}
	return id.AgentID, agent, admin, token
}

// intake sends batches for one agent epoch until stop, coming again with the same
// hits after every failure, and counts what was acknowledged.
func intake(url string, c *http.Client, agent, epoch string, acknowledged *atomic.Int64, stop <-chan struct{}) {
	for seq := uint64(1); ; {
		select {
		case <-stop:
			return
		default:
		}
		var batch api.HitBatch
		for i := range uint64(5) {
			batch.Hits = append(batch.Hits, api.Hit{SchemaVersion: 1, AgentID: agent, Epoch: epoch, Seq: seq + i, ObservedAt: time.Now(), Event: "write",
				Host: api.Host{Name: "h"}, User: api.User{Name: epoch}, Destination: api.Destination{Class: "fixed"},
				Verdict: api.Verdict{Path: fmt.Sprintf("/x/%d", seq+i), Verdict: api.Identical, Model: "m", ModelVersion: "1", Kind: api.KindProtected}})
		}
		var answer api.HitAnswer
		if err := post(c, url+api.PathHits, "", batch, &answer); err != nil || answer.Acknowledged != seq+4 {
			time.Sleep(5 * time.Millisecond) // the server is being killed or starts
			continue
		}
		seq += 5
		acknowledged.Store(int64(seq - 1))
	}
}

// A server that is killed in the middle of intake has every acknowledged hit after
// its restart, and each exactly once; its alerts count them, and its audit log is
// whole.
//
// WEIGHTWARDEN_KILLS gives another number of kills: docs/scale.md has what came of 200.
func TestKilledServerKeepsEveryAcknowledgedHit(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { killAndCount(t, numberOfKills(t, 10), "") })
	t.Run("PostgreSQL", func(t *testing.T) {
		killAndCount(t, numberOfKills(t, 10), storetest.Database(t, storetest.Postgres(t), "kills"))
	})
}

func numberOfKills(t *testing.T, n int) int {
	if text := os.Getenv("WEIGHTWARDEN_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return n
}

func killAndCount(t *testing.T, kills int, database string) {
	data := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	srv := startChild(t, data, listen, database)
	agent, c, admin, token := enrolled(t, data, srv.url)
	stop := make(chan struct{})
	counts := make([]atomic.Int64, 4)
	done := make(chan struct{})
	for i := range counts {
		go func() {
			intake(srv.url, c, agent, fmt.Sprint("epoch", i), &counts[i], stop)
			done <- struct{}{}
		}()
	}
	for range kills {
		awaitAcknowledged(t, counts, 5+mathrand.Int64N(100))
		time.Sleep(mathrand.N(5 * time.Millisecond)) // any moment of a commit
		srv.kill(t)
		srv = startChild(t, data, listen, database)
	}
	close(stop)
	for range counts {
		<-done
	}
	t.Cleanup(func() { srv.kill(t) })
	for i := range counts {
		user := fmt.Sprint("epoch", i)
		seen := map[uint64]int{}
		for _, h := range all[api.HitInfo](t, admin, srv.url+"/v1/hits?limit=1000&user="+user, token) {
			var seq uint64
			if _, err := fmt.Sscanf(h.Path, "/x/%d", &seq); err != nil {
				t.Fatal(err)
			}
			seen[seq]++
		}
		for seq := uint64(1); seq <= uint64(counts[i].Load()); seq++ {
			if seen[seq] != 1 {
				t.Errorf("epoch %d: hit %d is there %d times", i, seq, seen[seq])
			}
		}
		inAlerts := int64(0)
		for _, a := range all[api.AlertInfo](t, admin, srv.url+"/v1/alerts?limit=1000&user="+user, token) {
			inAlerts += a.Hits
		}
		if inAlerts != int64(len(seen)) {
			t.Errorf("epoch %d: alerts count %d hits, %d are stored", i, inAlerts, len(seen))
		}
		t.Logf("epoch %d: %d acknowledged, %d stored, %d kills", i, counts[i].Load(), len(seen), kills)
	}
	checkLog(t, data, database)
}

// awaitAcknowledged waits until n more hits are acknowledged to all senders together.
func awaitAcknowledged(t *testing.T, counts []atomic.Int64, n int64) {
	t.Helper()
	sum := func() (n int64) {
		for i := range counts {
			n += counts[i].Load()
		}
		return n
	}
	want := sum() + n
	for deadline := time.Now().Add(30 * time.Second); sum() < want; {
		if time.Now().After(deadline) {
			t.Fatal("too few hits were acknowledged in 30 seconds")
		}
		time.Sleep(time.Millisecond)
	}
}

// checkLog verifies the audit log of a server's database.
func checkLog(t *testing.T, data, database string) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Path: filepath.Join(data, "server.db"), URL: database})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tree, err := s.AuditTree(t.Context())
	if err == nil {
		_, err = audit.Verify(t.Context(), s, tree)
	}
	if err != nil {
		t.Error(err)
	}
}

// all reads a whole list.
func all[T any](t *testing.T, c *http.Client, url, token string) []T {
	t.Helper()
	var out []T
	for after := ""; ; {
		req, err := http.NewRequest("GET", url+"&after="+after, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var page api.List[T]
		err = json.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, page.Items...)
		if after = page.Next; after == "" {
			return out
		}
	}
}
