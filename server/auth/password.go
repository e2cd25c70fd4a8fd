package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Passwords are kept as argon2id (RFC 9106) in PHC string format, with the second of
// the parameter sets that OWASP's Password Storage Cheat Sheet gives: 19 MiB, two
// passes, one lane.
const (
	argonMemory = 19 << 10 // KiB
	argonPasses = 2
	argonLanes  = 1
	argonKey    = 32
	argonSalt   = 16
)

// Lengths of passwords, in bytes. Hashing takes the same time for all of them.
const (
	MinPassword = 12
	MaxPassword = 256
)

// ErrPassword is returned for a password that must not be used.
var ErrPassword = errors.New("not a usable password")

// Hasher hashes and checks passwords, a few at a time, so that sign-ins cannot use up
// the server's memory. It is safe for concurrent use.
type Hasher struct{ slots chan struct{} }

// NewHasher returns a Hasher that works on at most parallel passwords at a time, each
// with 19 MiB.
func NewHasher(parallel int) *Hasher { return &Hasher{slots: make(chan struct{}, parallel)} }

// CheckPassword refuses passwords that are too short, too long, or contain the name.
func CheckPassword(name, password string) error {
	switch {
	case len(password) < MinPassword:
		return fmt.Errorf("%w: at least %d bytes", ErrPassword, MinPassword)
	case len(password) > MaxPassword:
		return fmt.Errorf("%w: at most %d bytes", ErrPassword, MaxPassword)
	case strings.Contains(strings.ToLower(password), strings.ToLower(name)):
		return fmt.Errorf("%w: it contains the name", ErrPassword)
	}
	return nil
}

// NewPassword makes a password of 120 random bits for its first use.
func NewPassword() string {
	b := make([]byte, 15)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// Hash returns the PHC string of a password with a fresh salt. It waits for its turn
// until ctx ends.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, argonSalt)
	rand.Read(salt)
	key, err := h.key(ctx, password, salt)
	if err != nil {
		return "", err
	}
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonPasses, argonLanes, enc.EncodeToString(salt), enc.EncodeToString(key)), nil
}

// Verify reports whether a password has this PHC string. Without one, for a name that
// nobody has, it takes as long and says no.
func (h *Hasher) Verify(ctx context.Context, phc, password string) (bool, error) {
	salt, want, err := parsePHC(phc)
	if err != nil {
		salt, want = make([]byte, argonSalt), nil
	}
	if len(password) > MaxPassword {
		password = ""
	}
	key, kerr := h.key(ctx, password, salt)
	if kerr != nil {
		return false, kerr
	}
	return err == nil && subtle.ConstantTimeCompare(key, want) == 1, nil
}

func (h *Hasher) key(ctx context.Context, password string, salt []byte) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey([]byte(password), salt, argonPasses, argonMemory, argonLanes, argonKey), nil
}

// parsePHC reads what Hash wrote. Other parameters are refused: none were ever used.
func parsePHC(phc string) (salt, key []byte, err error) {
	head := fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, argonMemory, argonPasses, argonLanes)
	body, ok := strings.CutPrefix(phc, head)
	s, k, both := strings.Cut(body, "$")
	if !ok || !both {
		return nil, nil, errors.New("not a password hash of this server")
	}
	enc := base64.RawStdEncoding.Strict()
	salt, err1 := enc.DecodeString(s)
	key, err2 := enc.DecodeString(k)
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, err
	}
	if len(salt) != argonSalt || len(key) != argonKey {
		return nil, nil, errors.New("not a password hash of this server: wrong lengths")
	}
	return salt, key, nil
}
