package destination

import (
	"bufio"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// gitRemote reports whether path lies in a git work tree that has a remote
// elsewhere, and which: committed there, the file leaves with the next push.
func gitRemote(path string) (string, bool) {
	dir := filepath.Dir(path)
	for range 64 { // deeper trees are no work trees
		f, err := os.Open(filepath.Join(dir, ".git", "config"))
		if err == nil {
			defer f.Close()
			return remoteOf(io.LimitReader(f, 1<<20))
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
	return "", false
}

// remoteOf finds the first remote URL of a git config that leads off this
// machine. Passwords in URLs are not passed on.
func remoteOf(r io.Reader) (string, bool) {
	lines := bufio.NewScanner(r)
	remote := false
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			remote = strings.HasPrefix(line, "[remote ")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !remote || !ok || strings.TrimSpace(key) != "url" {
			continue
		}
		value = strings.TrimSpace(value)
		if u, err := url.Parse(value); err == nil && u.Host != "" {
			return u.Redacted(), true
		}
		if host, _, ok := strings.Cut(value, ":"); ok && !strings.Contains(host, "/") {
			return value, true // user@host:path
		}
	}
	return "", false
}
