package process

import "strings"

// secretForm is how an option of a tool carries a secret.
type secretForm int

const (
	noSecret    secretForm = iota
	wholeSecret            // the next argument is one
	afterUser              // the next argument is user:secret
	attached               // the option itself ends in one: -pSECRET
)

// secretOptions returns which short options of a tool carry secrets; false for a
// name that is none of these tools.
func secretOptions(tool string) (func(arg string) secretForm, bool) {
	next := func(form secretForm, options ...string) func(string) secretForm {
		return func(arg string) secretForm {
			for _, o := range options {
				if arg == o {
					return form
				}
			}
			return noSecret
		}
	}
	glued := func(options ...string) func(string) secretForm {
		return func(arg string) secretForm {
			for _, o := range options {
				if strings.HasPrefix(arg, o) && len(arg) > len(o) && !strings.HasPrefix(arg, "--") {
					return attached
				}
			}
			return noSecret
		}
	}
	switch tool {
	case "curl", "lftp", "ncftpput", "wget2":
		return next(afterUser, "-u", "-U", "--user", "--proxy-user"), true
	case "smbclient":
		return next(afterUser, "-U", "--user"), true
	case "sshpass":
		return func(arg string) secretForm {
			if arg == "-p" {
				return wholeSecret
			}
			return glued("-p")(arg)
		}, true
	case "mysql", "mysqldump", "mariadb", "mariadb-dump", "mysqladmin", "7z", "7za", "7zr", "7zz":
		return glued("-p"), true
	case "rar", "unrar":
		return glued("-hp", "-p"), true
	case "zip", "unzip", "sqlcmd":
		return next(wholeSecret, "-P"), true
	case "openssl":
		return next(wholeSecret, "-k", "-K", "-passin", "-passout", "-pass"), true
	case "docker", "podman", "skopeo", "buildah", "oras":
		return loginPassword(), true
	case "ldapsearch", "ldapmodify":
		return next(wholeSecret, "-w"), true
	case "redis-cli":
		return next(wholeSecret, "-a"), true
	}
	return nil, false
}

// loginPassword is "-p" after "login" only: elsewhere it publishes a port.
func loginPassword() func(string) secretForm {
	login := false
	return func(arg string) secretForm {
		login = login || arg == "login"
		if login && arg == "-p" {
			return wholeSecret
		}
		return noSecret
	}
}

// attachedOption is the part of -pSECRET that is the option.
func attachedOption(arg string) string {
	if strings.HasPrefix(arg, "-hp") {
		return arg[:3]
	}
	return arg[:2]
}

// unquoted takes one pair of quotes off a word.
func unquoted(w string) string {
	if len(w) >= 2 && (w[0] == '\'' || w[0] == '"') && w[len(w)-1] == w[0] {
		return w[1 : len(w)-1]
	}
	return w
}

// splitWords splits at spaces outside of quotes. gaps are what stands before each
// word, and after the last.
func splitWords(s string) (words, gaps []string) {
	start, quote, inWord := 0, byte(0), false
	for i := range len(s) {
		c := s[i]
		space := quote == 0 && (c == ' ' || c == '\t' || c == '\n')
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		}
		if space == inWord {
			if inWord {
				words = append(words, s[start:i])
			} else {
				gaps = append(gaps, s[start:i])
			}
			start, inWord = i, !inWord
		}
	}
	if inWord {
		return append(words, s[start:]), append(gaps, "")
	}
	return words, append(gaps, s[start:])
}
