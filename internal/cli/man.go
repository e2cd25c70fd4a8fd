package cli

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

// man writes the manual page of the program, in the man macros of troff, from the
// table of commands.
func (p *Program) man(w io.Writer) {
	fmt.Fprintf(w, ".TH %s 1 \"\" \"weightwarden %s\" \"weightwarden\"\n", strings.ToUpper(p.Name), troff(p.Version))
	fmt.Fprintf(w, ".SH NAME\n%s \\- %s\n", p.Name, troff(p.Summary))
	fmt.Fprint(w, ".SH SYNOPSIS\n")
	for i := range p.Commands {
		c := &p.Commands[i]
		fmt.Fprintf(w, ".B %s %s\n[flags] %s\n.br\n", p.Name, troff(c.Name), troff(c.Args))
	}
	fmt.Fprint(w, ".SH COMMANDS\n")
	for i := range p.Commands {
		p.manCommand(w, &p.Commands[i])
	}
	if p.Epilogue != "" {
		fmt.Fprint(w, ".SH NOTES\n")
		paragraphs(w, p.Epilogue)
	}
	fmt.Fprint(w, ".SH ENVIRONMENT\n.TP\n.B NO_COLOR\nAny value switches colour off.\n")
	fmt.Fprint(w, ".SH SEE ALSO\n")
	var others []string
	for _, name := range []string{"fpagent", "fpcheck", "fpctl", "fpserver"} {
		if name != p.Name {
			others = append(others, `\fB`+name+`\fR(1)`)
		}
	}
	fmt.Fprintln(w, strings.Join(others, ", "))
}

func (p *Program) manCommand(w io.Writer, c *Command) {
	fmt.Fprintf(w, ".SS %s %s\n", p.Name, troff(c.Name))
	fmt.Fprintf(w, "%s\n", troff(sentence(c.Summary)))
	if c.Help != "" {
		paragraphs(w, c.Help)
	}
	p.flagsOf(c).VisitAll(func(f *flag.Flag) {
		kind, text := flag.UnquoteUsage(f)
		fmt.Fprintf(w, ".TP\n\\fB\\-\\-%s\\fR", troff(f.Name))
		if kind != "" {
			fmt.Fprintf(w, " \\fI%s\\fR", troff(kind))
		}
		fmt.Fprintf(w, "\n%s\n", troff(text))
	})
}

// flagsOf declares the flags of a command as Run does.
func (p *Program) flagsOf(c *Command) *flag.FlagSet {
	fs := flag.NewFlagSet(p.Name+" "+c.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Bool("json", false, jsonUsage)
	c.Flags(fs)
	return fs
}

// paragraphs writes text whose paragraphs are parted by empty lines. Lines that
// are indented keep their breaks.
func paragraphs(w io.Writer, text string) {
	for _, para := range strings.Split(strings.TrimSpace(text), "\n\n") {
		fmt.Fprint(w, ".PP\n")
		verbatim := false
		for line := range strings.Lines(para) {
			line = strings.TrimRight(line, "\n")
			if indented := strings.HasPrefix(line, "  "); indented != verbatim {
				fmt.Fprintln(w, map[bool]string{true: ".nf", false: ".fi"}[indented])
				verbatim = indented
			}
			fmt.Fprintln(w, troff(line))
		}
		if verbatim {
			fmt.Fprint(w, ".fi\n")
		}
	}
}

// troff escapes text: backslashes, hyphens that must stay hyphens, and lines that
// would be taken for a request.
func troff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

// sentence makes a summary one: a capital letter and a full stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if strings.HasSuffix(s, "?") || strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}
