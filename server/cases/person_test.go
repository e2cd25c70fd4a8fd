package cases

import "testing"

func TestSamePerson(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"mallory", "mallory", true}, {"mallory", "Mallory@corp.example", true}, {`CORP\mallory`, "mallory", true}, {`CORP\Mallory`, " mallory@x", true},
		{"mallory", "mal", false}, {"", "", false}, {"", "@x", false}, {"@x", "@x", true}, {`CORP\`, "", false}, {"root", "roott@root", false},
	} {
		if got := SamePerson(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %v", c.a, c.b, got)
		}
	}
}
