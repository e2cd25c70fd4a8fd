package uplink_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weightwarden/agent/agenttest"
	"weightwarden/agent/identity"
	"weightwarden/agent/spool"
	"weightwarden/agent/uplink"
	"weightwarden/internal/api"
	"weightwarden/internal/snapshot"
)

func enrolled(t *testing.T) (*agenttest.Server, *identity.Identity, *uplink.Client) {
	t.Helper()
	srv := agenttest.NewServer(t)
	dir := t.TempDir()
	if _, err := identity.Enroll(t.Context(), dir, srv.HTTP.URL, srv.Token.String(), api.Host{Name: "h"}, "test"); err != nil {
		t.Fatal(err)
	}
	id, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := uplink.NewClient(id, "")
	if err != nil {
		t.Fatal(err)
	}
	return srv, id, c
}

func TestEnrollRefusals(t *testing.T) {
	srv, other := agenttest.NewServer(t), agenttest.NewServer(t)
	dir := t.TempDir()
	enroll := func(token string) error {
		_, err := identity.Enroll(t.Context(), dir, srv.HTTP.URL, token, api.Host{}, "test")
		return err
	}
	if err := enroll(other.Token.String()); err == nil || !strings.Contains(err.Error(), "does not come from the CA") {
		t.Errorf("a token of another server: %v", err)
	}
	if err := enroll("wwe1.x.y"); !errors.Is(err, api.ErrEnrolToken) {
		t.Errorf("a broken token: %v", err)
	}
	if err := enroll(api.NewEnrolToken(srv.Token.Pin).String()); err == nil || !strings.Contains(err.Error(), "token is used or unknown") {
		t.Errorf("a token that the server does not know: %v", err)
	}
	if _, err := identity.Load(dir); !errors.Is(err, identity.ErrNotEnrolled) {
		t.Errorf("after refusals: %v", err)
	}
	if err := enroll(srv.Token.String()); err != nil {
		t.Fatal(err)
	}
	if err := enroll(srv.Token.String()); err == nil || !strings.Contains(err.Error(), "enrolled already") {
		t.Errorf("a second time: %v", err)
	}
	info, err := os.Stat(identity.Path(dir))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

func newSpool(t *testing.T, n int) *spool.Spool {
	t.Helper()
	sp, err := spool.Open(t.TempDir(), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sp.Close() })
	for range n {
		if _, err := sp.Append(api.Hit{Event: "write"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return sp
}

func deliver(t *testing.T, c *uplink.Client, sp *spool.Spool, report func(error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Deliver(ctx, sp, report)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func TestDeliverThroughOutage(t *testing.T) {
	srv, _, c := enrolled(t)
	srv.Down(http.StatusServiceUnavailable, "1")
	sp := newSpool(t, 500)
	failures := make(chan error, 100)
	deliver(t, c, sp, func(err error) {
		if err != nil {
			failures <- err
		}
	})
	var status *uplink.StatusError
	if err := <-failures; !errors.As(err, &status) || status.Status != 503 || status.RetryAfter != time.Second {
		t.Fatalf("%v", err)
	}
	if sp.Info().Pending != 500 {
		t.Fatalf("%+v", sp.Info())
	}
	srv.Down(0, "")
	agenttest.Wait(t, "all hits", func() bool { return sp.Info().Pending == 0 })
	if stored, received := srv.Hits(); len(stored) != 500 || received != 500 {
		t.Fatalf("stored %d, received %d", len(stored), received)
	}
}

func TestRefusedHitIsSetAside(t *testing.T) {
	srv, _, c := enrolled(t)
	srv.Refuse(func(h api.Hit) string {
		if h.Seq == 2 {
			return "malformed"
		}
		return ""
	})
	sp := newSpool(t, 3)
	deliver(t, c, sp, func(error) {})
	agenttest.Wait(t, "delivery", func() bool { return sp.Info().Pending == 0 })
	if stored, _ := srv.Hits(); len(stored) != 2 {
		t.Fatalf("stored %d", len(stored))
	}
}

func TestRenew(t *testing.T) {
	srv := agenttest.NewServer(t)
	srv.CertificateLife(2 * time.Second)
	dir := t.TempDir()
	id, err := identity.Enroll(t.Context(), dir, srv.HTTP.URL, srv.Token.String(), api.Host{Name: "h"}, "test")
	if err != nil {
		t.Fatal(err)
	}
	c, err := uplink.NewClient(id, "")
	if err != nil {
		t.Fatal(err)
	}
	srv.CertificateLife(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Renew(ctx, id, func(error) {})
	}()
	agenttest.Wait(t, "renewal", func() bool {
		at, _ := id.RenewAt()
		return srv.Renewals() == 1 && time.Until(at) > 10*time.Minute
	})
	cancel()
	<-done
	again, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, until := again.RenewAt(); time.Until(until) < 30*time.Minute {
		t.Fatalf("on disk until %v", until)
	}
}

func TestSnapshot(t *testing.T) {
	srv, id, c := enrolled(t)
	dir := t.TempDir()
	s, err := uplink.NewSnapshots(c, dir, id.SnapshotKey)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := s.Fetch(t.Context()); changed || err != nil {
		t.Fatalf("nothing registered: %v %v", changed, err)
	}
	srv.Publish(5, []byte("registry five"))
	if changed, err := s.Fetch(t.Context()); !changed || err != nil {
		t.Fatalf("%v %v", changed, err)
	}
	path, epoch, _, err := s.Current()
	if b, rerr := os.ReadFile(path); err != nil || rerr != nil || epoch != 5 || string(b) != "registry five" {
		t.Fatalf("%q %d %v %v", b, epoch, err, rerr)
	}
	if changed, err := s.Fetch(t.Context()); changed || err != nil {
		t.Fatalf("the same again: %v %v", changed, err)
	}
	refused := func(what string, want error) {
		t.Helper()
		_, err := s.Fetch(t.Context())
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
		if p, e, _, err := s.Current(); p != path || e != 5 || err != nil {
			t.Errorf("%s: the last good one is gone: %q %d %v", what, p, e, err)
		}
	}
	srv.Publish(4, []byte("registry four"))
	refused("rollback", snapshot.ErrRollback)
	srv.Publish(5, []byte("another five"))
	refused("two contents of one epoch", snapshot.ErrConflict)
	srv.PublishRaw([]byte("not signed at all"))
	refused("malformed", snapshot.ErrMalformed)
	srv.Publish(6, []byte("registry six"))
	srv.SpoilBlobs()
	refused("spoilt blob", nil)
	srv.Publish(7, []byte("registry seven"))
	if changed, err := s.Fetch(t.Context()); !changed || err != nil {
		t.Fatalf("%v %v", changed, err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*.fpdb")); len(names) != 1 {
		t.Errorf("old registries stay: %v", names)
	}
	path, _, _, err = s.Current()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("registry sevem"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.Current(); err == nil {
		t.Error("a decayed file was not noticed")
	}
	if _, err := s.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.Current(); err != nil {
		t.Errorf("not repaired: %v", err)
	}
}
