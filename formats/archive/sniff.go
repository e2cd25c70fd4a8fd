package archive

import "bytes"

// Within reports whether head starts with a signature, or holds it behind
// something that is no archive itself: the members of an archive are looked at
// as such, so that what is in them is not found twice.
func Within(head []byte, signature string) bool {
	if bytes.HasPrefix(head, []byte(signature)) {
		return true
	}
	if !bytes.Contains(head, []byte(signature)) {
		return false
	}
	for _, other := range []string{"PK\x03\x04", "7z\xbc\xaf\x27\x1c", "\x1f\x8b\x08", "\xfd7zXZ\x00", "BZh", "\x28\xb5\x2f\xfd"} {
		if bytes.HasPrefix(head, []byte(other)) {
			return false
		}
	}
	return len(head) < 262 || string(head[257:262]) != "ustar"
}
