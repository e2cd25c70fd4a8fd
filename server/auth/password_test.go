package auth

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
)

func TestPassword(t *testing.T) {
	const good = "correct horse battery"
	phc := Hash(good)
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatal(phc)
	}
	if Hash(good) == phc {
		t.Error("the salt is not fresh")
	}
	for _, c := range []struct {
		phc, password string
		want          bool
	}{
		{phc, good, true}, {phc, good + "x", false}, {phc, "", false}, {phc, strings.Repeat("x", 1<<20), false},
		{"", good, false}, {"", "", false}, {phc[:len(phc)-1], good, false}, {phc + "A", good, false},
		{strings.Replace(phc, "m=19456", "m=8", 1), good, false}, {strings.Replace(phc, "argon2id", "argon2i", 1), good, false},
		{"$argon2id$v=19$m=19456,t=2,p=1$$", good, false},
	} {
		if ok := Verify(c.phc, c.password); ok != c.want {
			t.Errorf("%.60q, %.30q: %v", c.phc, c.password, ok)
		}
	}
}

// One who waits for his turn gives up with his request; one too many is sent away.
func TestHasherWaits(t *testing.T) {
	h := NewHasher(1, 1)
	never := func() error { t.Error("it had no turn"); return nil }
	err := h.Do(t.Context(), func() error {
		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan error)
		go func() { waiting <- h.Do(ctx, never) }()
		for len(h.queue) < 2 {
			runtime.Gosched()
		}
		if err := h.Do(t.Context(), never); !errors.Is(err, ErrBusy) {
			t.Errorf("one too many: %v", err)
		}
		cancel()
		return <-waiting
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if phc, err := h.Hash(t.Context(), "x"); err != nil || !Verify(phc, "x") {
		t.Errorf("afterwards: %q, %v", phc, err)
	}
}

// Failures count by address, and for IPv6 by the network that one subscriber has.
func TestLimiter(t *testing.T) {
	l := NewLimiter()
	for range maxFailures {
		if wait := l.Try("2001:db8::1"); wait != 0 {
			t.Fatalf("wait %v", wait)
		}
	}
	for addr, slow := range map[string]bool{"2001:db8::1": true, "2001:db8::2:3": true, "2001:db8:0:1::1": false, "192.0.2.1": false, "::ffff:192.0.2.1": false, "": false} {
		if wait := l.Try(addr); (wait > 0) != slow || wait > failureWindow {
			t.Errorf("%q: wait %v", addr, wait)
		}
	}
	l.Passed("2001:db8::9")
	if wait := l.Try("2001:db8::1"); wait != 0 {
		t.Errorf("one was no failure: wait %v", wait)
	}
}

func TestCheckPassword(t *testing.T) {
	for password, ok := range map[string]bool{"short": false, "long enough, really": true, "my name is ada.berg": false, "MY NAME IS ADA.BERG": false,
		strings.Repeat("abcdefg", 40): false, NewPassword(): true, "abcabcabcabcabc": false} {
		if err := CheckPassword("Ada.Berg", password); (err == nil) != ok {
			t.Errorf("%q: %v", password, err)
		}
	}
	if err := CheckPassword("e", "long enough, really"); err != nil {
		t.Errorf("a name of one letter: %v", err)
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$$")
	f.Fuzz(func(t *testing.T, phc string) {
		if salt, key, err := parsePHC(phc); (err == nil) != (len(salt) == argonSalt && len(key) == argonKey) {
			t.Errorf("%x %x %v", salt, key, err)
		}
	})
}
