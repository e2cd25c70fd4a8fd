package destination

import (
	"net/url"
	"strings"
)

// Archive is the class of a copy that was packed together with or without others.
const Archive = "archive"

// Packed names the container that a format as in api.Verdict.Format begins with:
// "tar" of "tar(safetensors)". Model formats that are containers themselves (a
// PyTorch zip) are none.
func Packed(format string) (container string, ok bool) {
	outer, _, nested := strings.Cut(format, "(")
	switch outer {
	case "zip", "tar", "7z", "rar", "gzip", "zstd", "xz", "bzip2", "lz4", "brotli", "cpio", "ar", "iso", "squashfs":
		return outer, true
	case "set", "sharded":
		return "", false
	}
	if !nested {
		return "", false
	}
	return outer, true
}

// cleanOrigin is a URL without what must not travel: credentials and query. False
// for what is no URL with a host.
func cleanOrigin(text string) (string, bool) {
	u, err := url.Parse(strings.TrimRight(text, "\x00\n"))
	if err != nil || u.Host == "" {
		return "", false
	}
	clean := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	out := clean.String()
	return out[:min(len(out), 512)], true
}
