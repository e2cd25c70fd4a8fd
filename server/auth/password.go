package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"

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
	minDistinct = 5 // characters
)

// ErrPassword is returned for a password that must not be used.
var ErrPassword = errors.New("not a usable password")

// ErrBusy is returned where too many passwords wait to be looked at.
var ErrBusy = errors.New("too many people sign in at this moment")

// Hasher lets a few passwords be hashed at a time and a few more wait, so that sign-ins
// use up neither the server's memory nor its processors. It is safe for concurrent use.
type Hasher struct {
	slots chan struct{} // at work
	queue chan struct{} // at work or waiting
}

// NewHasher returns a Hasher for parallel passwords at a time, of 19 MiB each, while at
// most waiting others wait.
func NewHasher(parallel, waiting int) *Hasher {
	return &Hasher{slots: make(chan struct{}, parallel), queue: make(chan struct{}, parallel+waiting)}
}

// Do calls work when its turn has come. It returns ErrBusy at once where too many wait,
// and ctx's error where that ends first.
func (h *Hasher) Do(ctx context.Context, work func() error) error {
	select {
	case h.queue <- struct{}{}:
		defer func() { <-h.queue }()
	default:
		return ErrBusy
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return work()
}

// Hash returns the PHC string of a password when its turn has come.
func (h *Hasher) Hash(ctx context.Context, password string) (phc string, err error) {
	err = h.Do(ctx, func() error { phc = Hash(password); return nil })
	return phc, err
}

// CheckName refuses names of accounts that would be hard to read or to type.
func CheckName(name string) error {
	odd := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-@+", r)
	}
	if name == "" || len(name) > 100 || strings.ContainsFunc(name, odd) {
		return errors.New("name: 1 to 100 letters, digits and . _ - @ +")
	}
	return nil
}

// CheckPassword refuses passwords that are too short, too long, contain the name, or are
// few characters again and again.
func CheckPassword(name, password string) error {
	switch {
	case len(password) < MinPassword:
		return fmt.Errorf("%w: at least %d bytes", ErrPassword, MinPassword)
	case len(password) > MaxPassword:
		return fmt.Errorf("%w: at most %d bytes", ErrPassword, MaxPassword)
	// Names of one or two letters are in every password.
	case len(name) > 2 && strings.Contains(strings.ToLower(password), strings.ToLower(name)):
		return fmt.Errorf("%w: it contains the name", ErrPassword)
	case distinct(password) < minDistinct:
		return fmt.Errorf("%w: at least %d different characters", ErrPassword, minDistinct)
	}
	return nil
}

func distinct(text string) int {
	seen := map[rune]bool{}
	for _, r := range text {
		seen[r] = true
	}
	return len(seen)
}

// NewPassword makes a password of 120 random bits for its first use.
func NewPassword() string {
	b := make([]byte, 15)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// Hash returns the PHC string of a password with a fresh salt. Call it by a Hasher.
func Hash(password string) string {
	salt := make([]byte, argonSalt)
	rand.Read(salt)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonPasses, argonLanes, enc.EncodeToString(salt), enc.EncodeToString(key(password, salt)))
}

// Verify reports whether a password has this PHC string. Without one, for a name that
// nobody has, it takes as long and says no. Call it by a Hasher.
func Verify(phc, password string) bool {
	salt, want, err := parsePHC(phc)
	if err != nil {
		salt, want = make([]byte, argonSalt), nil
	}
	if len(password) > MaxPassword {
		password = ""
	}
	got := key(password, salt)
	return err == nil && subtle.ConstantTimeCompare(got, want) == 1
}

func key(password string, salt []byte) []byte {
	return argon2.IDKey([]byte(password), salt, argonPasses, argonMemory, argonLanes, argonKey)
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
