package fingerprint

import "github.com/zeebo/blake3"

// Reseal replaces the checksum of an encoded fingerprint by the right one.
func Reseal(b []byte) []byte {
	if len(b) < checksumBytes {
		return b
	}
	body := b[:len(b)-checksumBytes]
	sum := blake3.Sum256(body)
	return append(append([]byte(nil), body...), sum[:checksumBytes]...)
}
