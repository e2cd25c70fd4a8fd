package api

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnrolTokenRoundTrip(t *testing.T) {
	want := NewEnrolToken(CAPin{1, 2, 0xff})
	got, err := ParseEnrolToken("  " + want.String() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if NewEnrolToken(CAPin{}).String() == NewEnrolToken(CAPin{}).String() {
		t.Error("two tokens are equal")
	}
}

func TestParseEnrolTokenRefuses(t *testing.T) {
	good := NewEnrolToken(CAPin{7}).String()
	parts := strings.Split(good, ".")
	for _, text := range []string{
		"", "wwe1", "wwe1..", "wwe2." + parts[1] + "." + parts[2], good + ".x", good[:len(good)-1],
		parts[0] + "." + parts[1][:10] + "." + parts[2], parts[0] + "." + parts[1] + "." + strings.ToUpper(strings.Repeat("a", 32)),
		parts[0] + "." + parts[1] + "=." + parts[2],
	} {
		if _, err := ParseEnrolToken(text); err == nil {
			t.Errorf("ParseEnrolToken(%q) succeeded", text)
		}
	}
}

func FuzzParseEnrolToken(f *testing.F) {
	f.Add(NewEnrolToken(CAPin{7}).String())
	f.Add("wwe1.aa.bb")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := ParseEnrolToken(text)
		if err == nil && tok.String() != strings.TrimSpace(text) {
			t.Errorf("%q parses but prints as %q", text, tok)
		}
	})
}
