package auth

import "testing"

// Nothing opens but what was sealed.
func FuzzTicket(f *testing.F) {
	p, err := NewPasskeys("https://warden.example.org", []byte("secret"))
	if err != nil {
		f.Fatal(err)
	}
	_, good, err := p.BeginSignIn()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{good, "", ".", "e30.e30", good[:len(good)-1], "A" + good} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if open, err := p.open(text, "sign in"); err == nil {
			if again, err := p.seal(open); err != nil || again != text {
				t.Errorf("%q opens, and is sealed as %q, %v", text, again, err)
			}
		} else if text == good {
			t.Error(err)
		}
		if _, err := p.open(text, "register"); err == nil {
			t.Errorf("%q opens for another purpose", text)
		}
	})
}
