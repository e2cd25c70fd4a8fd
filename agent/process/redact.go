package process

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"weightwarden/internal/api"
)

// Redacted stands in place of a secret.
const Redacted = "[redacted]"

// Redactor takes secrets out of command lines before they leave the machine:
// values of options, variables and headers whose names say so, credentials in
// URLs, and keys that are known by their shape. It is cautious: rather an
// argument too many than a password.
type Redactor struct {
	assign, option, header, user, shape *regexp.Regexp
}

// NewRedactor returns a Redactor, which is safe for concurrent use.
func NewRedactor() *Redactor {
	return &Redactor{
		assign: regexp.MustCompile(`([A-Za-z0-9_.\-]*[A-Za-z0-9_])(=|: ?|%3[Dd])`),
		option: regexp.MustCompile(`^--?[A-Za-z][A-Za-z0-9_.\-]*$`),
		header: regexp.MustCompile(`(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|[a-z-]*(?:token|api-?key|secret|auth|password)[a-z-]*)(\s*:\s+)([^"'\n]+)`),
		user:   regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.\-]*://)([^\s/@"']*)@`),
		shape: regexp.MustCompile(`\b(?:hf_[A-Za-z0-9]{8,}|(?:AKIA|ASIA)[A-Z0-9]{12,}|gh[pousr]_[A-Za-z0-9]{8,}|github_pat_\w{8,}|glpat-[\w-]{8,}` +
			`|sk-[\w-]{16,}|xox[a-z]-[\w-]{8,}|AIza[\w-]{30,}|ya29\.[\w-]{8,}|npm_[A-Za-z0-9]{16,}|pypi-[\w-]{16,}|eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?)` +
			`|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*`),
	}
}

// Process returns a copy of p whose arguments, and those of its ancestors, hold
// no secrets that could be recognised.
func (r *Redactor) Process(p *api.Process) *api.Process {
	if p == nil {
		return nil
	}
	out := *p
	out.Args = r.Args(p.Args)
	out.Ancestors = slices.Clone(p.Ancestors)
	for i := range out.Ancestors {
		out.Ancestors[i].Args = r.Args(out.Ancestors[i].Args)
	}
	return &out
}

// Args redacts one command line.
func (r *Redactor) Args(args []string) []string {
	return r.list(args, true)
}

func (r *Redactor) list(args []string, whole bool) []string {
	if args == nil {
		return nil
	}
	out := make([]string, len(args))
	takes := func(string) secretForm { return noSecret }
	next := noSecret
	for i, a := range args {
		if f, ok := secretOptions(filepath.Base(unquoted(a))); ok {
			takes = f
		}
		switch {
		case next == wholeSecret && !r.option.MatchString(a):
			out[i], next = Redacted, noSecret
			continue
		case next == afterUser:
			out[i], next = hideAfterUser(a), noSecret
			continue
		}
		next = noSecret
		form := takes(a)
		switch {
		case form == attached:
			out[i] = attachedOption(a) + Redacted
			continue
		case form != noSecret:
			next = form
		case r.option.MatchString(a) && sensitive(a):
			next = wholeSecret
		}
		out[i] = r.one(a, whole)
	}
	return out
}

// one redacts one argument. An argument of several words is perhaps a command
// line of its own ("sh -c ..."): then each word counts.
func (r *Redactor) one(a string, whole bool) string {
	a = r.header.ReplaceAllString(a, "${1}${2}"+Redacted)
	a = r.user.ReplaceAllStringFunc(a, hideCredentials)
	a = r.shape.ReplaceAllString(a, Redacted)
	if whole && strings.ContainsAny(a, " \t\n") {
		if at := r.assign.FindStringSubmatchIndex(a); at != nil && at[0] == 0 && sensitive(a[at[2]:at[3]]) {
			return a[:at[1]] + Redacted
		}
		words, gaps := splitWords(a)
		var b strings.Builder
		for i, w := range r.list(words, false) {
			b.WriteString(gaps[i])
			b.WriteString(w)
		}
		return b.String() + gaps[len(words)]
	}
	return r.assigned(a)
}

// assigned hides the values of name=value and name:value.
func (r *Redactor) assigned(a string) string {
	var b strings.Builder
	for {
		at := r.assign.FindStringSubmatchIndex(a)
		if at == nil {
			return b.String() + a
		}
		b.WriteString(a[:at[1]])
		name, rest := a[at[2]:at[3]], a[at[1]:]
		if sensitive(name) && !strings.HasPrefix(rest, "//") && rest != "" {
			b.WriteString(Redacted)
			end := len(rest)
			if at[0] > 0 { // in the midst of a URL or a list
				if i := strings.IndexAny(rest, "&;\"'"); i >= 0 {
					end = i
				}
			}
			rest = rest[end:]
		}
		a = rest
	}
}

// hideCredentials redacts scheme://user:password@ and scheme://token@.
func hideCredentials(s string) string {
	scheme, rest, _ := strings.Cut(s, "://")
	user := strings.TrimSuffix(rest, "@")
	name, _, has := strings.Cut(user, ":")
	switch {
	case has && len(name) < 40:
		return scheme + "://" + name + ":" + Redacted + "@"
	case has || len(user) >= 16:
		return scheme + "://" + Redacted + "@"
	}
	return s
}

// hideAfterUser keeps the name of user:password, user%password, user,password.
func hideAfterUser(s string) string {
	if i := strings.IndexAny(s, ":%,"); i >= 0 {
		return s[:i+1] + Redacted
	}
	return s
}

// sensitive reports whether a name says that its value is a secret. Names of
// files, of tokenizers and numbers of tokens do not.
func sensitive(name string) bool {
	words := nameWords(name)
	if len(words) == 0 {
		return false
	}
	switch words[len(words)-1] {
	case "file", "path", "dir", "type", "name", "id", "url", "uri", "length", "len", "size", "limit", "count", "method", "env", "stdin":
		return strings.Join(words, "") == "accesskeyid" || strings.Join(words, "") == "awsaccesskeyid"
	}
	for i, w := range words {
		switch w {
		case "pass", "pwd", "auth", "authorization", "credential", "credentials", "creds", "cookie", "sig", "signature", "bearer", "sas", "pat", "pin", "otp":
			return true
		case "key":
			if i > 0 && slices.Contains([]string{"api", "access", "secret", "private", "account", "encryption", "master", "storage", "auth", "aws", "s3"}, words[i-1]) {
				return true
			}
		}
		for _, end := range []string{"password", "passwd", "passphrase", "passwort", "secret", "token", "apikey", "accesskey", "secretkey", "privatekey", "accountkey"} {
			if strings.HasSuffix(w, end) {
				return true
			}
		}
	}
	return false
}

// nameWords splits a name at its punctuation and humps, in lower case.
func nameWords(name string) []string {
	var words []string
	start := 0
	flush := func(end int) {
		if end > start {
			words = append(words, strings.ToLower(name[start:end]))
		}
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '-' || c == '_' || c == '.':
			flush(i)
			start = i + 1
		case c >= 'A' && c <= 'Z' && i > start && name[i-1] >= 'a' && name[i-1] <= 'z':
			flush(i)
			start = i
		}
	}
	flush(len(name))
	if len(words) == 1 && name == "PWD" { // the working folder
		return nil
	}
	return words
}
