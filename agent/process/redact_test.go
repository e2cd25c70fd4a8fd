package process

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weightwarden/internal/api"
)

func TestRedactHidesSecrets(t *testing.T) {
	r := NewRedactor()
	const x = "Zq7TOPSECRETzz91"
	for _, args := range [][]string{
		{"prog", "--password=" + x}, {"prog", "--password", x}, {"prog", "-password", x}, {"prog", "--db-password=a " + x + " b"},
		{"env", "HF_TOKEN=" + x, "python", "up.py"}, {"env", "AWS_SECRET_ACCESS_KEY=" + x}, {"prog", "--env=HF_TOKEN=" + x},
		{"aws", "--secret-key", x}, {"prog", "--apiKey", x}, {"prog", "--api_key=" + x}, {"prog", "SharedAccessKey=" + x},
		{"curl", "-H", "Authorization: Bearer " + x, "https://h/"}, {"curl", "-H", "X-Api-Key: " + x}, {"curl", "--header=Authorization: Basic " + x},
		{"curl", "-u", "bob:" + x, "https://h/"}, {"curl", "https://bob:" + x + "@h/x"}, {"git", "clone", "https://" + x + "@github.com/a/b"},
		{"curl", "https://h/x?X-Amz-Signature=" + x + "&a=1"}, {"curl", "https://h/x?a=1&token=" + x + "&b=2"},
		{"sshpass", "-p", x, "scp", "a", "b:"}, {"sshpass", "-p" + x, "scp"}, {"/usr/bin/mysql", "-uroot", "-p" + x}, {"sudo", "mysql", "-p" + x},
		{"7z", "a", "-p" + x, "out.7z", "w.pt"}, {"zip", "-P", x, "o.zip"}, {"rar", "a", "-hp" + x, "o.rar"},
		{"openssl", "enc", "-aes-256-cbc", "-k", x, "-in", "w"}, {"openssl", "enc", "-pass", "pass:" + x}, {"docker", "login", "-u", "bob", "-p", x},
		{"smbclient", "//h/s", "-U", "bob%" + x}, {"redis-cli", "-a", x},
		{"sh", "-c", "curl -H 'Authorization: Bearer " + x + "' https://h/"}, {"sh", "-c", "sshpass -p " + x + " scp w.pt h:"},
		{"sh", "-c", "mysql --password '" + x + " " + x + "' db"}, {"bash", "-c", "export HF_TOKEN=" + x + "; python up.py"},
		{"prog", "hf_" + x}, {"prog", "--x=ghp_" + x}, {"prog", "AKIA" + strings.ToUpper(x)}, {"prog", "eyJhbGciOiJI." + x + ".sig"},
		{"prog", "-----BEGIN RSA PRIVATE KEY-----\n" + x}, {"prog", "--token", "-----BEGIN " + x},
	} {
		got := r.Args(args)
		if strings.Contains(strings.ToUpper(strings.Join(got, "\x00")), strings.ToUpper(x)) {
			t.Errorf("%q leaves %q", args, got)
		}
		if len(got) != len(args) {
			t.Errorf("%q became %q", args, got)
		}
	}
}

// What tells where a copy went must not be lost.
func TestRedactKeepsTheRest(t *testing.T) {
	r := NewRedactor()
	for _, args := range [][]string{
		{"cp", "/models/aurora.pt", "/mnt/usb/holiday.zip"}, {"python", "train.py", "--tokenizer=llama", "--max-tokens", "512", "--tokenizer-path", "/x/t.json"},
		{"scp", "-i", "/home/bob/.ssh/id_ed25519", "w.pt", "bob@host:/tmp/"}, {"rsync", "-a", "w.pt", "rsync://host/share"}, {"git", "push", "ssh://git@host/x"},
		{"mysql", "-p"}, {"docker", "run", "-p", "80:80", "img"}, {"prog", "--password-file", "/run/pw"}, {"dd", "if=/a", "of=/dev/sdb"}, {"prog", "PWD=/home/bob"},
		{"sh", "-c", "cat  w.pt |  gzip > 'a b.gz'"}, {},
	} {
		if got := r.Args(args); !cmp.Equal(got, args) {
			t.Errorf("%q became %q", args, got)
		}
	}
	want := []string{"curl", "-u", "bob:" + Redacted, "-T", "w.pt", "https://eve:" + Redacted + "@h/up?sig=" + Redacted + "&n=1"}
	if got := r.Args([]string{"curl", "-u", "bob:x", "-T", "w.pt", "https://eve:y@h/up?sig=z&n=1"}); !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}

func TestRedactAncestors(t *testing.T) {
	p := &api.Process{Args: []string{"a", "--token=x1"}, Ancestors: []api.Process{{Args: []string{"b", "--token=x2"}}}}
	got := NewRedactor().Process(p)
	if got.Args[1] != "--token="+Redacted || got.Ancestors[0].Args[1] != "--token="+Redacted {
		t.Errorf("%+v", got)
	}
	if p.Args[1] != "--token=x1" || p.Ancestors[0].Args[1] != "--token=x2" {
		t.Errorf("the original became %+v", p)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("sh", "-c", "curl -H 'A: b' \"x y")
	f.Add("mysql", "-p", "--password")
	r := NewRedactor()
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if got := r.Args([]string{a, b, c}); len(got) != 3 {
			t.Errorf("%q", got)
		}
		words, gaps := splitWords(c)
		if len(gaps) != len(words)+1 {
			t.Errorf("%q: %q, %q", c, words, gaps)
		}
	})
}
