package auth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// ErrPasskey is returned for an answer of a browser that proves nothing.
var ErrPasskey = errors.New("the passkey's answer proves nothing")

// TicketLife is how long a browser may take for one ceremony.
const TicketLife = 5 * time.Minute

// maxCeremony bounds tickets and answers of browsers, in bytes.
const maxCeremony = 64 << 10

// Passkeys registers and checks passkeys (WebAuthn level 2, discoverable, the person
// verified by the device). What ties an answer to its question travels with the browser
// in a sealed ticket, so that strangers store nothing here. It is safe for concurrent use.
type Passkeys struct {
	rp  *webauthn.WebAuthn
	key []byte
}

// NewPasskeys is for a server at a URL, as browsers see it: passkeys are bound to its
// host name. Servers with the same secret take each other's tickets.
func NewPasskeys(at string, secret []byte) (*Passkeys, error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || net.ParseIP(u.Hostname()) != nil || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("URL %.100q: want https://NAME[:PORT]; passkeys are bound to a name, not to an address", at)
	}
	rp, err := webauthn.New(&webauthn.Config{RPID: u.Hostname(), RPDisplayName: "weightwarden", RPOrigins: []string{"https://" + u.Host},
		AttestationPreference:  protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired}})
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "weightwarden passkey tickets", sha256.Size)
	return &Passkeys{rp: rp, key: key}, err
}

// PasskeyOwner is an account with its passkeys, each as Register returned it.
type PasskeyOwner struct {
	ID, Name string
	Keys     [][]byte
}

// owner is what the library asks an account for.
type owner struct {
	PasskeyOwner
	keys []webauthn.Credential
}

func (o *owner) WebAuthnID() []byte                         { return []byte(o.ID) }
func (o *owner) WebAuthnName() string                       { return o.Name }
func (o *owner) WebAuthnDisplayName() string                { return o.Name }
func (o *owner) WebAuthnCredentials() []webauthn.Credential { return o.keys }

func ownerOf(p PasskeyOwner) (*owner, error) {
	o := &owner{PasskeyOwner: p}
	for _, k := range p.Keys {
		var c webauthn.Credential
		if err := json.Unmarshal(k, &c); err != nil {
			return nil, fmt.Errorf("a stored passkey of %.100q: %w", p.Name, err)
		}
		o.keys = append(o.keys, c)
	}
	return o, nil
}

// ticket is what the server has to remember of a question.
type ticket struct {
	For     string // "register" or "sign in"
	Begun   time.Time
	Session webauthn.SessionData
}

func (p *Passkeys) seal(t ticket) (string, error) {
	b, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	return enc.EncodeToString(b) + "." + enc.EncodeToString(p.mac(b)), nil
}

func (p *Passkeys) mac(b []byte) []byte {
	m := hmac.New(sha256.New, p.key)
	m.Write(b)
	return m.Sum(nil)
}

// open returns a ticket that this server, or one with the same secret, sealed for the
// same purpose within the last minutes.
func (p *Passkeys) open(text, purpose string) (ticket, error) {
	var t ticket
	body, sum, ok := strings.Cut(text, ".")
	b, err1 := base64.RawURLEncoding.Strict().DecodeString(body)
	mac, err2 := base64.RawURLEncoding.Strict().DecodeString(sum)
	if !ok || len(text) > maxCeremony || err1 != nil || err2 != nil || !hmac.Equal(mac, p.mac(b)) {
		return t, fmt.Errorf("%w: it was not begun in this browser", ErrPasskey)
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return t, fmt.Errorf("%w: %v", ErrPasskey, err)
	}
	if age := time.Since(t.Begun); t.For != purpose || age > TicketLife || age < -TicketLife {
		return t, fmt.Errorf("%w: it took longer than %v", ErrPasskey, TicketLife)
	}
	return t, nil
}

// BeginRegister returns what the browser is asked (JSON), and the ticket.
func (p *Passkeys) BeginRegister(who PasskeyOwner) (question []byte, sealed string, err error) {
	o, err := ownerOf(who)
	if err != nil {
		return nil, "", err
	}
	var known []protocol.CredentialDescriptor
	for _, k := range o.keys {
		known = append(known, k.Descriptor())
	}
	options, session, err := p.rp.BeginRegistration(o, webauthn.WithExclusions(known))
	if err != nil {
		return nil, "", err
	}
	return p.question(options, ticket{For: "register", Begun: time.Now(), Session: *session})
}

func (p *Passkeys) question(options any, t ticket) (question []byte, sealed string, err error) {
	if question, err = json.Marshal(options); err != nil {
		return nil, "", err
	}
	sealed, err = p.seal(t)
	return question, sealed, err
}

// Register returns the id and the record of a new passkey of the account that the
// ticket was made for. The record is public: it has no secret.
func (p *Passkeys) Register(who PasskeyOwner, sealed string, answer []byte) (id string, record []byte, err error) {
	t, err := p.open(sealed, "register")
	if err != nil {
		return "", nil, err
	}
	o, err := ownerOf(who)
	if err != nil {
		return "", nil, err
	}
	if len(answer) > maxCeremony {
		return "", nil, fmt.Errorf("%w: %d bytes", ErrPasskey, len(answer))
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %v", ErrPasskey, err)
	}
	c, err := p.rp.CreateCredential(o, t.Session, parsed)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %v", ErrPasskey, err)
	}
	record, err = json.Marshal(c)
	return passkeyID(c.ID), record, err
}

func passkeyID(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// BeginSignIn returns what the browser of a stranger is asked (JSON), and the ticket.
func (p *Passkeys) BeginSignIn() (question []byte, sealed string, err error) {
	options, session, err := p.rp.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, "", err
	}
	return p.question(options, ticket{For: "sign in", Begun: time.Now(), Session: *session})
}

// PasskeyUse is one sign-in by a passkey.
type PasskeyUse struct {
	Account, ID string
	Record      []byte    // with the device's counter; to be stored
	Begun       time.Time // of the question: a later use of the same ticket is a repetition
}

// SignIn finds whose passkey answered; find returns the account of an id. A passkey whose
// counter went back was copied, and proves nothing.
func (p *Passkeys) SignIn(sealed string, answer []byte, find func(account string) (PasskeyOwner, error)) (PasskeyUse, error) {
	t, err := p.open(sealed, "sign in")
	if err != nil {
		return PasskeyUse{}, err
	}
	if len(answer) > maxCeremony {
		return PasskeyUse{}, fmt.Errorf("%w: %d bytes", ErrPasskey, len(answer))
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return PasskeyUse{}, fmt.Errorf("%w: %v", ErrPasskey, err)
	}
	var inner error
	user, c, err := p.rp.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
		who, err := find(string(handle))
		if err == nil {
			var o *owner
			if o, err = ownerOf(who); err == nil {
				return o, nil
			}
		}
		inner = err
		return nil, err
	}, t.Session, parsed)
	switch {
	case inner != nil:
		return PasskeyUse{}, inner
	case err != nil:
		return PasskeyUse{}, fmt.Errorf("%w: %v", ErrPasskey, err)
	case c.Authenticator.CloneWarning:
		return PasskeyUse{}, fmt.Errorf("%w: its counter went back, it was copied", ErrPasskey)
	}
	record, err := json.Marshal(c)
	return PasskeyUse{Account: string(user.WebAuthnID()), ID: passkeyID(c.ID), Record: record, Begun: t.Begun}, err
}
