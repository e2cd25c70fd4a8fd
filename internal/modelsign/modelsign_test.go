package modelsign

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"weightwarden/internal/fixtures"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(fixtures.Path(t, "fixtures/modelsign", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func trust(t testing.TB, name string) *Trust {
	t.Helper()
	tr, err := ParseTrust(read(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// What the reference tool signed verifies, and names the files by their digests.
func TestVerifiesWhatTheReferenceSigns(t *testing.T) {
	for bundle, c := range map[string]struct{ by, signer string }{
		"prime256v1.sig": {"prime256v1.pem", "key sha256:"}, "secp384r1.sig": {"secp384r1.pem", "key sha256:"},
		"certificate.sig": {"ca.pem", "certificate CN=release@example.org"},
	} {
		m, err := Verify(read(t, bundle), trust(t, c.by), time.Time{})
		if err != nil {
			t.Errorf("%s: %v", bundle, err)
			continue
		}
		if !strings.HasPrefix(m.Signer, c.signer) || len(m.Files) != 2 {
			t.Errorf("%s: %+v", bundle, m)
		}
		for name, want := range m.Files {
			b, err := os.ReadFile(fixtures.Path(t, "models", path.Base(name)))
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != want {
				t.Errorf("%s: %s has another digest", bundle, name)
			}
		}
	}
}

func TestRefuses(t *testing.T) {
	good, key := read(t, "prime256v1.sig"), trust(t, "prime256v1.pem")
	swap := func(old, new string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("no %s in the bundle", old)
		}
		return bytes.Replace(good, []byte(old), []byte(new), 1)
	}
	for name, c := range map[string]struct {
		bundle []byte
		by     *Trust
		want   error
	}{
		"another key":       {good, trust(t, "secp384r1.pem"), ErrSignature},
		"a certificate":     {good, trust(t, "ca.pem"), ErrSignature},
		"unknown authority": {read(t, "certificate.sig"), key, ErrSignature},
		"empty":             {nil, key, ErrFormat},
		"no bundle":         {[]byte("{}"), key, ErrFormat},
		"no JSON":           {good[:len(good)-2], key, ErrFormat},
		"another payload":   {swap(`"payload":"ewo`, `"payload":"ewp`), key, ErrSignature},
		"another type":      {swap("vnd.in-toto+json", "vnd.in-toto"), key, ErrFormat},
		"keyless":           {swap(`"publicKey"`, `"x"`), key, ErrUnsupported},
		"too large":         {make([]byte, MaxBundle+1), key, ErrFormat},
	} {
		if m, err := Verify(c.bundle, c.by, time.Time{}); !errors.Is(err, c.want) || m != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := Verify(read(t, "certificate.sig"), trust(t, "ca.pem"), time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)); !errors.Is(err, ErrSignature) {
		t.Errorf("an expired certificate: %v", err)
	}
	for _, bad := range []string{"", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if _, err := ParseTrust([]byte(bad)); err == nil {
			t.Errorf("%q is taken for trust", bad)
		}
	}
}

// Statements are the signer's, and still hostile where the key was stolen.
func TestStatements(t *testing.T) {
	const good = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"SUBJECT"}}],"predicateType":"https://model_signing/signature/v1.0","predicate":{"resources":[{"name":"NAME","algorithm":"sha256","digest":"DIGEST"}],"serialization":{"method":"files"}}}`
	digest := strings.Repeat("ab", 32)
	sum := sha256.Sum256(bytes.Repeat([]byte{0xab}, 32))
	made := func(name string) string {
		return strings.NewReplacer("SUBJECT", hex.EncodeToString(sum[:]), "NAME", name, "DIGEST", digest).Replace(good)
	}
	if files, err := statement([]byte(made("a/b.bin"))); err != nil || files["a/b.bin"] != digest {
		t.Fatal(files, err)
	}
	for _, bad := range []string{made(""), made("/etc/passwd"), made("../x"), made("a/../b"), made("a//b"), strings.Replace(made("a"), "sha256\",\"dig", "md5\",\"dig", 1),
		strings.Replace(made("a"), digest, digest[2:], 1), strings.Replace(made("a"), `"files"`, `"shards"`, 1), strings.Replace(made("a"), digest, strings.Repeat("cd", 32), 1),
		strings.Replace(made("a"), "signature/v1.0", "signature/v9", 1), "[]", "{}"} {
		if files, err := statement([]byte(bad)); err == nil {
			t.Errorf("%v of %s", files, bad)
		}
	}
}

func FuzzVerify(f *testing.F) {
	key, authority := trust(f, "prime256v1.pem"), trust(f, "ca.pem")
	for _, name := range []string{"prime256v1.sig", "certificate.sig"} {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, tr := range []*Trust{key, authority} {
			if m, err := Verify(b, tr, time.Time{}); (m == nil) == (err == nil) {
				t.Errorf("%v, %v", m, err)
			}
		}
	})
}

func FuzzStatement(f *testing.F) {
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"x"}}],"predicateType":"https://model_signing/signature/v1.0","predicate":{"resources":[{"name":"n","algorithm":"sha256","digest":"ab"}],"serialization":{"method":"files"}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if files, err := statement(b); (len(files) == 0) != (err != nil) {
			t.Errorf("%v, %v", files, err)
		}
	})
}
