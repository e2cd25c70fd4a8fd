package cases

import "strings"

// SamePerson reports whether two names may be of one person: hits name users as endpoints know them ("mallory",
// `CORP\mallory`), accounts as people sign in ("Mallory@corp.example"). Names that are alike but for case and domain are
// taken to be: somebody watched must not learn of it by the other spelling.
func SamePerson(a, b string) bool {
	a, b = bareName(a), bareName(b)
	return a != "" && strings.EqualFold(a, b)
}

// bareName is a name without its domain.
func bareName(name string) string {
	name = strings.TrimSpace(name)
	if i := strings.LastIndexByte(name, '\\'); i >= 0 {
		name = name[i+1:]
	}
	if i := strings.IndexByte(name, '@'); i > 0 {
		name = name[:i]
	}
	return name
}
