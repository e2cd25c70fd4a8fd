// Package modelsign reads the signatures of OpenSSF Model Signing, version 1.0: a
// Sigstore bundle with a DSSE envelope around an in-toto statement that names every
// file of a model with its SHA-256.
//
// Sources: github.com/ossf/model-signing-spec v1.0, github.com/secure-systems-lab/dsse
// (protocol.md), bundles of model-signing 1.1.1. Bundles signed by a key or by a
// certificate of a known authority are verified. Keyless ones need Sigstore's
// transparency log and are refused.
package modelsign

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// Errors of Verify; every error is one of them.
var (
	ErrFormat      = errors.New("not a model signature")
	ErrSignature   = errors.New("the signature does not verify")
	ErrUnsupported = errors.New("this kind of model signature is not read")
)

const (
	payloadType   = "application/vnd.in-toto+json"
	statementType = "https://in-toto.io/Statement/v1"
	predicateType = "https://model_signing/signature/v1.0"
	// MaxBundle is the size of a bundle, in bytes, over which Verify refuses it.
	MaxBundle = 16 << 20
	maxFiles  = 100_000
	maxChain  = 8
)

// Manifest is what was signed.
type Manifest struct {
	Signer string            // "key sha256:HEX" of its SubjectPublicKeyInfo, or the certificate's subject
	Files  map[string]string // SHA-256 in hex, by path within the model
}

// Trust is what a signature is verified with: keys, or authorities of certificates.
type Trust struct {
	keys        []*ecdsa.PublicKey
	authorities *x509.CertPool
}

// ParseTrust reads public keys and certificates of authorities from PEM.
func ParseTrust(text []byte) (*Trust, error) {
	t := &Trust{authorities: x509.NewCertPool()}
	n := 0
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		switch block.Type {
		case "PUBLIC KEY":
			key, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("public key: %w", err)
			}
			ec, ok := key.(*ecdsa.PublicKey)
			if !ok {
				return nil, fmt.Errorf("%w: a public key that is not ECDSA", ErrUnsupported)
			}
			t.keys = append(t.keys, ec)
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("certificate: %w", err)
			}
			t.authorities.AddCert(cert)
		default:
			return nil, fmt.Errorf("PEM block %.40q: want PUBLIC KEY or CERTIFICATE", block.Type)
		}
		n++
	}
	if n == 0 {
		return nil, errors.New("no public key and no certificate in PEM form")
	}
	return t, nil
}

// bundle is the part of a Sigstore bundle that matters here. Unknown fields are
// those of other kinds of bundles.
type bundle struct {
	MediaType string `json:"mediaType"`
	Material  struct {
		PublicKey   *struct{} `json:"publicKey"`
		Certificate *struct{} `json:"certificate"`
		Chain       *struct {
			Certificates []struct {
				RawBytes []byte `json:"rawBytes"`
			} `json:"certificates"`
		} `json:"x509CertificateChain"`
	} `json:"verificationMaterial"`
	Envelope struct {
		Payload     []byte `json:"payload"`
		PayloadType string `json:"payloadType"`
		Signatures  []struct {
			Sig []byte `json:"sig"`
		} `json:"signatures"`
	} `json:"dsseEnvelope"`
}

// Verify checks a bundle and returns what it signs. now is the time at which a
// certificate must be good; the zero time takes that of its beginning, for models
// that were signed long ago.
func Verify(signed []byte, trust *Trust, now time.Time) (*Manifest, error) {
	if len(signed) > MaxBundle {
		return nil, fmt.Errorf("%w: %d bytes", ErrFormat, len(signed))
	}
	var b bundle
	if err := json.Unmarshal(signed, &b); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if !strings.HasPrefix(b.MediaType, "application/vnd.dev.sigstore.bundle") || b.Envelope.PayloadType != payloadType || len(b.Envelope.Signatures) != 1 {
		return nil, fmt.Errorf("%w: no Sigstore bundle with one signature over an in-toto statement", ErrFormat)
	}
	keys, signer, err := b.keys(trust, now)
	if err != nil {
		return nil, err
	}
	message := preAuthentication(b.Envelope.Payload)
	for _, key := range keys {
		if !ecdsa.VerifyASN1(key, digest(key, message), b.Envelope.Signatures[0].Sig) {
			continue
		}
		if signer == "" {
			signer = keyName(key)
		}
		files, err := statement(b.Envelope.Payload)
		if err != nil {
			return nil, err
		}
		return &Manifest{Signer: signer, Files: files}, nil
	}
	return nil, ErrSignature
}

// keys returns the keys that may have signed the bundle, and the name of the signer
// where a certificate has it.
func (b *bundle) keys(trust *Trust, now time.Time) ([]*ecdsa.PublicKey, string, error) {
	switch m := &b.Material; {
	case m.PublicKey != nil:
		return trust.keys, "", nil
	case m.Chain == nil || len(m.Chain.Certificates) == 0 || len(m.Chain.Certificates) > maxChain:
		return nil, "", fmt.Errorf("%w: keyless signatures need Sigstore; verify it with model_signing", ErrUnsupported)
	default:
		var chain []*x509.Certificate
		for _, c := range m.Chain.Certificates {
			cert, err := x509.ParseCertificate(c.RawBytes)
			if err != nil {
				return nil, "", fmt.Errorf("%w: certificate: %v", ErrFormat, err)
			}
			chain = append(chain, cert)
		}
		return certified(chain, trust.authorities, now)
	}
}

// certified returns the key of the first certificate, once the chain leads to one of
// the authorities and it may sign code.
func certified(chain []*x509.Certificate, authorities *x509.CertPool, now time.Time) ([]*ecdsa.PublicKey, string, error) {
	opt := x509.VerifyOptions{Roots: authorities, Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	if now.IsZero() {
		opt.CurrentTime = chain[0].NotBefore
	}
	for _, c := range chain[1:] {
		opt.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(opt); err != nil {
		return nil, "", fmt.Errorf("%w: %v", ErrSignature, err)
	}
	key, ok := chain[0].PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, "", fmt.Errorf("%w: a certificate whose key is not ECDSA", ErrUnsupported)
	}
	return []*ecdsa.PublicKey{key}, "certificate " + chain[0].Subject.String(), nil
}

// preAuthentication is PAE of DSSE: lengths keep type and payload apart.
func preAuthentication(payload []byte) []byte {
	head := fmt.Sprintf("DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload))
	return append([]byte(head), payload...)
}

// digest hashes as the specification asks for the key's curve.
func digest(key *ecdsa.PublicKey, message []byte) []byte {
	switch key.Curve {
	case elliptic.P384():
		sum := sha512.Sum384(message)
		return sum[:]
	case elliptic.P521():
		sum := sha512.Sum512(message)
		return sum[:]
	}
	sum := sha256.Sum256(message)
	return sum[:]
}

func keyName(key *ecdsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "key" // one that was parsed can be written
	}
	sum := sha256.Sum256(der)
	return "key sha256:" + hex.EncodeToString(sum[:])
}

// statement reads the in-toto statement: files with their SHA-256, whose hashes
// together give the subject's.
func statement(payload []byte) (map[string]string, error) {
	var s struct {
		Type    string `json:"_type"`
		Subject []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
		PredicateType string `json:"predicateType"`
		Predicate     struct {
			Resources []struct {
				Name      string `json:"name"`
				Algorithm string `json:"algorithm"`
				Digest    string `json:"digest"`
			} `json:"resources"`
			Serialization struct {
				Method string `json:"method"`
			} `json:"serialization"`
		} `json:"predicate"`
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("%w: statement: %v", ErrFormat, err)
	}
	if s.Type != statementType || s.PredicateType != predicateType || len(s.Subject) != 1 || len(s.Predicate.Resources) == 0 || len(s.Predicate.Resources) > maxFiles {
		return nil, fmt.Errorf("%w: no statement %s with one subject", ErrFormat, predicateType)
	}
	if m := s.Predicate.Serialization.Method; m != "files" {
		return nil, fmt.Errorf("%w: serialization %.40q (only \"files\" is)", ErrUnsupported, m)
	}
	files, all := make(map[string]string, len(s.Predicate.Resources)), sha256.New()
	for _, r := range s.Predicate.Resources {
		sum, err := hex.DecodeString(r.Digest)
		if r.Algorithm != "sha256" || err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("%w: digest %.80q of %.200q (%.20q)", ErrUnsupported, r.Digest, r.Name, r.Algorithm)
		}
		if _, twice := files[r.Name]; twice || r.Name == "" || path.IsAbs(r.Name) || path.Clean(r.Name) != r.Name || strings.HasPrefix(r.Name, "../") {
			return nil, fmt.Errorf("%w: file name %.200q", ErrFormat, r.Name)
		}
		files[r.Name] = hex.EncodeToString(sum)
		all.Write(sum)
	}
	if hex.EncodeToString(all.Sum(nil)) != s.Subject[0].Digest["sha256"] {
		return nil, fmt.Errorf("%w: the subject's digest is not that of its files", ErrFormat)
	}
	return files, nil
}
