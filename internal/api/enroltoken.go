package api

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

// EnrolToken is a one-time secret that lets a machine enrol, together with the
// pin of the server's CA, so that the very first connection is verified too.
//
// Text form: "wwe1.<base64url secret>.<32 hex digits of the pin>".
type EnrolToken struct {
	Secret []byte // 32 random bytes; the server keeps only SHA-256 of the token's Secret
	Pin    CAPin
}

// CAPin is the first 16 bytes of SHA-256 of a CA certificate's
// SubjectPublicKeyInfo (DER).
type CAPin [16]byte

const (
	enrolPrefix     = "wwe1"
	enrolSecretSize = 32
)

// ErrEnrolToken is returned for text that is no enrolment token.
var ErrEnrolToken = errors.New("not an enrolment token (want wwe1.SECRET.PIN)")

// NewEnrolToken makes a token with a fresh secret for the CA with this pin.
func NewEnrolToken(pin CAPin) EnrolToken {
	secret := make([]byte, enrolSecretSize)
	rand.Read(secret) // never fails: crypto/rand ends the process instead
	return EnrolToken{Secret: secret, Pin: pin}
}

// ParseEnrolToken reads the text form. White space around it is ignored.
func ParseEnrolToken(text string) (EnrolToken, error) {
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 3 || parts[0] != enrolPrefix {
		return EnrolToken{}, ErrEnrolToken
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil || len(secret) != enrolSecretSize {
		return EnrolToken{}, ErrEnrolToken
	}
	pin, err := ParseCAPin(parts[2])
	if err != nil {
		return EnrolToken{}, ErrEnrolToken
	}
	return EnrolToken{Secret: secret, Pin: pin}, nil
}

// String returns the text form. It is a secret: never log it.
func (t EnrolToken) String() string {
	return enrolPrefix + "." + base64.RawURLEncoding.EncodeToString(t.Secret) + "." + t.Pin.String()
}

// PinOf returns the pin of a CA certificate.
func PinOf(ca *x509.Certificate) CAPin {
	sum := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
	return CAPin(sum[:16])
}

// ParseCAPin reads 32 lower-case hex digits.
func ParseCAPin(text string) (CAPin, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(CAPin{}) || strings.ToLower(text) != text {
		return CAPin{}, errors.New("not a CA pin (want 32 lower-case hex digits)")
	}
	return CAPin(b), nil
}

// String returns the pin as 32 hex digits.
func (p CAPin) String() string { return hex.EncodeToString(p[:]) }
