package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func testProgram(got *[]string) *Program {
	record := func(name string) func(fs *flag.FlagSet) func(context.Context, *Env, []string) error {
		return func(fs *flag.FlagSet) func(context.Context, *Env, []string) error {
			n := fs.Int("n", 0, "a `NUMBER`")
			return func(_ context.Context, env *Env, args []string) error {
				*got = append([]string{name, string(rune('0' + *n))}, args...)
				if len(args) > 0 && args[0] == "fail" {
					return Hint(errors.New("it failed"), "try again")
				}
				env.Exit = ExitMatch
				return nil
			}
		}
	}
	return &Program{Name: "prog", Summary: "a program", Version: "1", Default: "look", Commands: []Command{
		{Name: "look", Summary: "look", Flags: record("look")},
		{Name: "model add", Summary: "add", Flags: record("add")},
		{Name: "model", Summary: "model", Flags: record("model")},
	}}
}

func TestRun(t *testing.T) {
	cases := []struct {
		args   string
		code   int
		called []string
		stdout string
		stderr string
	}{
		{"look a b", 1, []string{"look", "0", "a", "b"}, "", ""},
		{"a -n 3 b", 1, []string{"look", "3", "a", "b"}, "", ""},
		{"model add x", 1, []string{"add", "0", "x"}, "", ""},
		{"model addx", 1, []string{"model", "0", "addx"}, "", ""},
		{"look -- -n 3", 1, []string{"look", "0", "-n", "3"}, "", ""},
		{"look a --", 1, []string{"look", "0", "a"}, "", ""},
		{"look -n x", 2, nil, "", "hint: see 'prog help look'"},
		{"look -n x --json", 2, nil, "", `{"schema_version":1,"error":"usage: invalid value`},
		{"look fail", 2, []string{"look", "0", "fail"}, "", "error: it failed\nhint: try again\n"},
		{"look fail --json", 2, []string{"look", "0", "fail"}, "", `"error":"it failed","hint":"try again"}`},
		{"help", 0, nil, "prog model add", ""},
		{"help model add", 0, nil, "usage: prog model add", ""},
		{"help nonsense", 2, nil, "", "no command"},
		{"look --help", 0, nil, "--n NUMBER", ""},
		{"version", 0, nil, "prog 1\n", ""},
		{"", 2, nil, "", "a program"},
	}
	for _, c := range cases {
		t.Run(c.args, func(t *testing.T) {
			var called []string
			var stdout, stderr bytes.Buffer
			env := &Env{Stdout: &stdout, Stderr: &stderr, Getenv: func(string) string { return "" }}
			code := testProgram(&called).Run(context.Background(), env, strings.Fields(c.args))
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if diff := cmp.Diff(c.called, called); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	cases := map[string]string{
		"plain ä 重":        "plain ä 重",
		"\x1b[31mred":      `\x1b[31mred`,
		"a\u202egpj.exe":   `a\u202egpj.exe`,
		"bad\xff":          `bad\xff`,
		"nul\x00":          `nul\x00`,
		"line\nbreak":      "line\nbreak",
		"zero\u200bwidth":  `zero\u200bwidth`,
		"\u009b31m c1 csi": `\u009b31m c1 csi`,
	}
	for in, want := range cases {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
	if got := PrintableLine("a\nb\tc"); got != `a\nb\tc` {
		t.Errorf("PrintableLine keeps line breaks: %q", got)
	}
}

func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"", "\x1b]0;title\a", "\u202e", "\xff\xfe", "ok"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range PrintableLine(s) {
			if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || isBidi(r) {
				t.Fatalf("PrintableLine(%q) lets %U through", s, r)
			}
		}
	})
}

func TestTable(t *testing.T) {
	tab := &Table{Right: []bool{false, true}}
	tab.Row("NAME", "N", "LAST")
	tab.Row("a\x1b[2J", "12", "x")
	tab.Row(strings.Repeat("long", 50), "1", "")
	var out bytes.Buffer
	tab.Print(&out, Style{})
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	if len(lines) != 3 || strings.Contains(out.String(), "\x1b") {
		t.Fatalf("%q", out.String())
	}
	if got := strings.Index(lines[0], " N  LAST"); got < 0 || !strings.Contains(lines[1], "12  x") {
		t.Errorf("columns do not line up:\n%s", out.String())
	}
	if n := len([]rune(lines[2])); n > MaxCell+12 {
		t.Errorf("a long cell was not cut: %d characters", n)
	}
}

func TestFormatting(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", -100: "-100"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 13_500_000_000: "13.5 GB", 999_999: "1 MB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want)
		}
	}
	for share, want := range map[float64]string{0: "░░░░", 0.001: "█░░░", 0.5: "██░░", 0.999: "███░", 1: "████"} {
		if got := Bar(share, 4); got != want {
			t.Errorf("Bar(%v) = %s, want %s", share, got, want)
		}
	}
}

// A progress bar belongs on terminals only, and NO_COLOR means no colour.
func TestNotATerminal(t *testing.T) {
	var out bytes.Buffer
	env := &Env{Stderr: &out, Getenv: func(string) string { return "" }}
	p := NewProgress(env)
	p.Start("x", 10)
	p.started = time.Now().Add(-time.Hour)
	p.Add(5)
	p.Clear()
	if out.Len() != 0 {
		t.Errorf("a bar in a pipe: %q", out.String())
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if IsTerminal(null) || IsTerminal(&out) || ColourFor(env, &out) {
		t.Error("taken for a terminal")
	}
}

func TestComplete(t *testing.T) {
	cases := []struct{ typed, want string }{
		{"", "look model help version completion man"},
		{"mo", "model"},
		{"m", "model man"},
		{"model ", "add"},
		{"model -", "--json --n"},
		{"model add -", "--json --n"},
		{"model add --n", "--n"},
		{"model add x", ""},
		{"nonsense -", ""},
		{"nonsense ", ""},
	}
	for _, c := range cases {
		var called []string
		var out bytes.Buffer
		env := &Env{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}
		args := append([]string{completeWord}, strings.Split(c.typed, " ")...)
		if code := testProgram(&called).Run(context.Background(), env, args); code != 0 {
			t.Errorf("%q: exit code %d", c.typed, code)
		}
		if got := strings.Join(strings.Fields(out.String()), " "); got != c.want {
			t.Errorf("%q: offered %q, want %q", c.typed, got, c.want)
		}
	}
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "tcsh"} {
		var called []string
		var out, stderr bytes.Buffer
		env := &Env{Stdout: &out, Stderr: &stderr, Getenv: func(string) string { return "" }}
		code := testProgram(&called).Run(context.Background(), env, []string{"completion", shell})
		if known := shell != "tcsh"; known != (code == 0) || known != strings.Contains(out.String(), "prog __complete") {
			t.Errorf("%s: exit code %d, %q, %q", shell, code, out.String(), stderr.String())
		}
	}
}

// A line of text must never become a request of troff.
func TestManPage(t *testing.T) {
	var called []string
	p := testProgram(&called)
	p.Commands[0].Help = ".so /etc/passwd\n'hidden\n\n  kept as it is\nback\\slash"
	var out bytes.Buffer
	env := &Env{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}
	if code := p.Run(context.Background(), env, []string{"man"}); code != 0 {
		t.Fatal(code)
	}
	known := map[string]bool{".TH": true, ".SH": true, ".SS": true, ".PP": true, ".TP": true, ".B": true, ".br": true, ".nf": true, ".fi": true}
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !known[strings.Fields(line)[0]] {
			t.Errorf("a line of text became a request: %q", line)
		}
	}
	for _, want := range []string{".SH NAME\nprog \\- a program", `\fB\-\-n\fR \fINUMBER\fR`, ".nf\n  kept as it is\n.fi\n", `back\eslash`, `\fBfpcheck\fR(1)`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, out.String())
		}
	}
}
