package server

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"weightwarden/internal/api"
	"weightwarden/server/audit"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

// The checkpoint that goes to a syslog target is of the log as it is, and signed.
func TestCheckpointIsTold(t *testing.T) {
	s, err := New(t.Context(), Config{DataDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Notice: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	by := store.Actor{Kind: "token", ID: "t"}
	if _, err := s.store.AddTarget(t.Context(), by, store.Target{Name: "siem", Kind: "syslog", URL: "tls://siem.example:6514", Format: "ecs", Secret: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := s.tellCheckpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := s.store.ClaimDeliveries(t.Context(), 10, time.Hour)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d deliveries, %v", len(list), err)
	}
	v, err := note.NewVerifier(s.verifier)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := audit.OpenHead([]byte(list[0].Checkpoint.Signed), v)
	if err != nil {
		t.Fatal(err)
	}
	now, err := s.store.AuditTree(t.Context())
	if err != nil || tree != now {
		t.Errorf("told %v, the log is %v, %v", tree, now, err)
	}
}

// The proof of an entry verifies by the key that clients pin, and an answer about
// another entry does not.
func TestInclusionProof(t *testing.T) {
	r := start(t)
	auditor := must[api.TokenAnswer](t, r, "POST", "/v1/tokens", api.TokenRequest{Name: "auditor", Roles: []string{auth.RoleAuditor}})
	for range 5 {
		must[api.TokenAnswer](t, r, "POST", "/v1/tokens", api.TokenRequest{Name: "x", Roles: []string{"reader"}})
	}
	v, err := note.NewVerifier(r.verifier)
	if err != nil {
		t.Fatal(err)
	}
	r.token = auditor.Token
	for _, path := range []string{"/v1/audit/entries/3", "/v1/audit/entries/3?size=4", "/v1/audit/entries/3?size=6"} {
		in := must[api.AuditInclusion](t, r, "GET", path, nil)
		if _, err := audit.CheckInclusion(&in, 3, v); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := audit.CheckInclusion(&in, 2, v); err == nil {
			t.Errorf("%s passes for entry 2", path)
		}
		in.Leaf[len(in.Leaf)-2] ^= 1
		if _, err := audit.CheckInclusion(&in, 3, v); err == nil {
			t.Errorf("%s passes with another leaf", path)
		}
	}
}
