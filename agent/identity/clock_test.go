package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"weightwarden/internal/api"
)

// TestWrongClock: a certificate that seems expired, or not begun, is most often a
// wrong clock; the advice says what this machine's clock shows.
func TestWrongClock(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, DNSNames: []string{"server"},
		NotBefore: begin, NotAfter: begin.AddDate(0, 1, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for now, good := range map[time.Time]bool{begin.AddDate(0, 0, 3): true, begin.AddDate(-1, 0, 0): false, begin.AddDate(1, 0, 0): false} {
		err := verifyPin([]*x509.Certificate{ca, ca}, api.PinOf(ca), "server", now)
		if (err == nil) != good {
			t.Errorf("at %v: %v", now, err)
		}
		if !good && !strings.Contains(Advice(err), "by this machine's clock it is ") {
			t.Errorf("at %v: %v: %s", now, err, Advice(err))
		}
	}
}
