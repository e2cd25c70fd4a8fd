package auth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestPassword(t *testing.T) {
	h := NewHasher(2)
	const good = "correct horse battery"
	phc, err := h.Hash(t.Context(), good)
	if err != nil || !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%q, %v", phc, err)
	}
	if again, _ := h.Hash(t.Context(), good); again == phc {
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
		if ok, err := h.Verify(t.Context(), c.phc, c.password); ok != c.want || err != nil {
			t.Errorf("%.60q, %.30q: %v, %v", c.phc, c.password, ok, err)
		}
	}
}

// One who waits for his turn gives up with his request.
func TestHasherWaits(t *testing.T) {
	h := NewHasher(1)
	h.slots <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := h.Verify(ctx, "", "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestCheckPassword(t *testing.T) {
	for password, ok := range map[string]bool{"short": false, "long enough, really": true, "my name is ada.berg": false, "MY NAME IS ADA.BERG": false,
		strings.Repeat("x", MaxPassword+1): false, NewPassword(): true} {
		if err := CheckPassword("Ada.Berg", password); (err == nil) != ok {
			t.Errorf("%q: %v", password, err)
		}
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
