package policy

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"weightwarden/internal/snapshot"
)

func keys(t testing.TB) (note.Signer, note.Verifier) {
	t.Helper()
	s, v, err := snapshot.NewKey("test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(s)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(v)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

func sample(version int64) *Policy {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &Policy{Version: version, Name: "servers", Created: now, Expires: now.Add(time.Hour),
		Rules: Rules{Verdicts: []string{"IDENTICAL"}, AllowPaths: []string{"/models"}, Block: true}}
}

func TestSignAndOpen(t *testing.T) {
	signer, verifier := keys(t)
	signed, err := Sign(sample(1), signer)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(signed, verifier)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(1), got); diff != "" {
		t.Error(diff)
	}
	_, other := keys(t)
	if _, err := Open(signed, other); !errors.Is(err, snapshot.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	manifest, err := snapshot.Sign(snapshot.KindManifest, []byte("{}"), signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(manifest, verifier); !errors.Is(err, snapshot.ErrMalformed) {
		t.Errorf("another document of the same key: %v", err)
	}
}

func TestMalformed(t *testing.T) {
	signer, verifier := keys(t)
	good, err := json.Marshal(sample(1))
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"no JSON": "x", "nothing": "{}", "unknown key": `{"version":1,"blok":true}`, "two documents": string(good) + " {}", "list": "[]",
	} {
		signed, err := snapshot.Sign(snapshot.KindPolicy, []byte(body), signer)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := Open(signed, verifier); p != nil || !errors.Is(err, snapshot.ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	for name, change := range map[string]func(*Policy){
		"version": func(p *Policy) { p.Version = 0 }, "time": func(p *Policy) { p.Expires = p.Created }, "relative": func(p *Policy) { p.Rules.AllowPaths = []string{"models"} },
		"root": func(p *Policy) { p.Rules.Lockdown = []string{"/"} }, "dots": func(p *Policy) { p.Rules.AllowPrograms = []string{"/a/../b"} },
		"empty": func(p *Policy) { p.Rules.Verdicts = []string{""} }, "many": func(p *Policy) { p.Rules.Verdicts = make([]string, maxItems+1) },
	} {
		p := sample(1)
		change(p)
		if _, err := Sign(p, signer); !errors.Is(err, snapshot.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAccept(t *testing.T) {
	now := sample(1).Created
	changed := sample(2)
	changed.Rules.Block = false
	again := sample(2)
	again.Expires = again.Expires.Add(time.Hour)
	for _, tt := range []struct {
		name    string
		p, held *Policy
		at      time.Time
		want    error
	}{
		{"first", sample(1), nil, now, nil}, {"newer", sample(3), sample(2), now, nil}, {"signed anew", again, sample(2), now, nil},
		{"older", sample(1), sample(2), now, snapshot.ErrRollback}, {"changed under its number", changed, sample(2), now, snapshot.ErrConflict},
		{"late", sample(3), sample(2), now.Add(2 * time.Hour), snapshot.ErrExpired},
	} {
		if err := tt.p.Accept(tt.held, tt.at); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	signer, verifier := keys(f)
	signed, err := Sign(sample(1), signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add([]byte("weightwarden-policy/1\n{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := Open(b, verifier); (p == nil) == (err == nil) {
			t.Errorf("%v, %v", p, err)
		}
	})
}
