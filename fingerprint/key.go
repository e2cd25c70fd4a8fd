package fingerprint

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/zeebo/blake3"

	"weightwarden/fingerprint/chunk"
)

// Key is the secret (or public constant) that cut points, chunk keys, sign
// patterns and sample positions are drawn from. Fingerprints made with different
// keys cannot be compared, so that a leaked snapshot helps nobody who lacks the
// key to test files against it.
type Key [32]byte

// KeyID tells keys apart without giving them away.
type KeyID [8]byte

// PublicKey is the default: fingerprints made with it can be exchanged.
func PublicKey() *Key {
	k := Key(blake3.Sum256([]byte("weightwarden public fingerprint key, scheme 1")))
	return &k
}

// ReadKey reads a key file: 64 hexadecimal digits.
func ReadKey(path string) (*Key, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var k Key
	text := strings.TrimSpace(string(b))
	if n, err := hex.Decode(k[:], []byte(text[:min(len(text), 64)])); err != nil || n != 32 || len(text) != 64 {
		return nil, errors.New("a key file holds 64 hexadecimal digits and nothing else")
	}
	return &k, nil
}

// ID returns the key's identity.
func (k *Key) ID() KeyID {
	var id KeyID
	copy(id[:], k.derive("key id"))
	return id
}

// String returns the identity in hexadecimal.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// derive returns 32 bytes for one purpose.
func (k *Key) derive(purpose string) []byte {
	out := make([]byte, 32)
	blake3.DeriveKey("weightwarden 2026-11-22 scheme 1 "+purpose, k[:], out)
	return out
}

// chunking returns the cut rule of scheme 1 under this key.
func (k *Key) chunking() chunk.Rule {
	b := k.derive("cut rule")
	return chunk.Rule{
		C1: binary.LittleEndian.Uint32(b) | 1,
		C2: binary.LittleEndian.Uint32(b[4:]) | 1,
		// One position in 2^15, of which there is one every 4 bytes.
		Threshold: 1 << (32 - 15),
		Min:       16 << 10,
		Max:       1 << 20,
	}
}

// String returns the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// IsZero reports whether the digest is absent.
func (d Digest) IsZero() bool { return d == Digest{} }

// ParseDigest reads 64 hexadecimal digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != 64 {
		return d, fmt.Errorf("a digest has 64 hexadecimal digits, not %d", len(s))
	}
	_, err := hex.Decode(d[:], []byte(s))
	return d, err
}
