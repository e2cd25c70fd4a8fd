package snapshot

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
)

func keys(t testing.TB, name string) (note.Signer, note.Verifier) {
	t.Helper()
	skey, vkey, err := NewKey(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

func sample(epoch int64) *Manifest {
	created := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	return &Manifest{Epoch: epoch, Created: created, Expires: created.Add(168 * time.Hour), Entries: 1,
		Blobs: []Blob{{Kind: BlobFull, BLAKE3: strings.Repeat("ab", 32), Bytes: 10}, {Kind: BlobDelta, From: epoch - 1, BLAKE3: strings.Repeat("cd", 32)}}}
}

func TestManifestRoundTrip(t *testing.T) {
	s, v := keys(t, "warden")
	want := sample(4)
	signed, err := SignManifest(want, s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenManifest(signed, v)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, ok := got.DeltaFrom(3); !ok {
		t.Error("delta from 3 not found")
	}
	if _, ok := got.DeltaFrom(2); ok {
		t.Error("delta from 2 found")
	}
}

// Every single flipped bit and every truncation of a signed manifest is refused.
func TestOpenManifestRefusesAnyChange(t *testing.T) {
	s, v := keys(t, "warden")
	signed, err := SignManifest(sample(4), s)
	if err != nil {
		t.Fatal(err)
	}
	for i := range signed {
		for bit := range 8 {
			bad := append([]byte(nil), signed...)
			bad[i] ^= 1 << bit
			if _, err := OpenManifest(bad, v); err == nil {
				t.Fatalf("bit %d of byte %d flipped: accepted", bit, i)
			}
		}
		if _, err := OpenManifest(signed[:i], v); err == nil {
			t.Fatalf("cut to %d bytes: accepted", i)
		}
	}
	_, other := keys(t, "warden")
	if _, err := OpenManifest(signed, other); !errors.Is(err, ErrSignature) {
		t.Errorf("other key: %v, want ErrSignature", err)
	}
	policy, err := Sign(KindPolicy, []byte("{}"), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenManifest(policy, v); !errors.Is(err, ErrMalformed) {
		t.Errorf("a policy as manifest: %v, want ErrMalformed", err)
	}
}

func TestSignManifestRefusesNonsense(t *testing.T) {
	s, _ := keys(t, "warden")
	for name, change := range map[string]func(*Manifest){
		"epoch 0":       func(m *Manifest) { m.Epoch = 0 },
		"no blob":       func(m *Manifest) { m.Blobs = nil },
		"delta first":   func(m *Manifest) { m.Blobs[0].Kind = BlobDelta },
		"short digest":  func(m *Manifest) { m.Blobs[0].BLAKE3 = "ab" },
		"negative size": func(m *Manifest) { m.Blobs[0].Bytes = -1 },
		"expired":       func(m *Manifest) { m.Expires = m.Created },
		"future delta":  func(m *Manifest) { m.Blobs[1].From = 9 },
	} {
		m := sample(4)
		change(m)
		if _, err := SignManifest(m, s); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

func TestAccept(t *testing.T) {
	held := HeldOf(sample(4))
	now := sample(4).Created.Add(time.Hour)
	other := sample(4)
	other.Blobs[0].BLAKE3 = strings.Repeat("ef", 32)
	resigned := sample(4)
	resigned.Created = resigned.Created.Add(time.Minute)
	older := sample(4)
	older.Created = older.Created.Add(-time.Minute)
	for name, tc := range map[string]struct {
		m    *Manifest
		now  time.Time
		want error
	}{
		"newer":         {sample(5), now, nil},
		"same":          {sample(4), now, nil},
		"signed anew":   {resigned, now, nil},
		"rolled back":   {sample(3), now, ErrRollback},
		"older signing": {older, now, ErrRollback},
		"conflict":      {other, now, ErrConflict},
		"frozen":        {sample(5), now.Add(400 * time.Hour), ErrExpired},
	} {
		if err := held.Accept(tc.m, tc.now); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if err := (Held{}).Accept(sample(1), now); err != nil {
		t.Errorf("first manifest: %v", err)
	}
}

func FuzzOpenManifest(f *testing.F) {
	s, v := keys(f, "warden")
	signed, err := SignManifest(sample(4), s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add([]byte(KindManifest + "\n{}\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := OpenManifest(b, v)
		if (m == nil) == (err == nil) {
			t.Errorf("manifest %v, error %v", m, err)
		}
	})
}
