// Package cli is what the programs share on the outside: sub-commands, usage
// texts, errors with hints, exit codes, colours, progress and JSON lines. Only
// this package and cmd write to the terminal.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sort"
	"strings"
	"syscall"

	"weightwarden/internal/api"
)

// Exit codes of every program; docs/cli.md lists them.
const (
	ExitOK    = 0
	ExitMatch = 1 // fpcheck: a protected model was found
	ExitError = 2 // error, wrong use, or inconclusive
)

// Env is what a command may touch, so that tests can run it.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
	JSON   bool // --json was given: errors are JSON objects on Stderr
	Exit   int  // exit code when the command returns nil
}

// Command is one sub-command.
type Command struct {
	Name    string // "registry add": words are matched one by one
	Args    string // "FILE ..." for the usage line
	Summary string // one line
	Help    string // further paragraphs, optional
	// Flags declares the command's flags on fs and returns what runs it.
	Flags func(fs *flag.FlagSet) func(ctx context.Context, env *Env, args []string) error
}

// jsonUsage describes the flag that every command has.
const jsonUsage = "print JSON, one object a line; errors too, on stderr"

// Program is a program with its sub-commands. Beside these, every program answers
// help, version, man (its manual page) and completion (a script for a shell).
type Program struct {
	Name     string
	Summary  string
	Version  string
	Default  string // command that runs when the first word names none; "" for none
	Epilogue string
	Commands []Command
}

// Hinted is an error with a word on what to do next.
type Hinted struct {
	Err  error
	Hint string
}

// Error implements error.
func (h *Hinted) Error() string { return h.Err.Error() }

// Unwrap returns the error itself.
func (h *Hinted) Unwrap() error { return h.Err }

// Hint adds what to do next to an error.
func Hint(err error, format string, args ...any) error {
	return &Hinted{Err: err, Hint: fmt.Sprintf(format, args...)}
}

// ErrUsage marks an error of use: the usage line is shown with it.
var ErrUsage = errors.New("usage")

// Usagef makes an error of use.
func Usagef(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUsage, fmt.Sprintf(format, args...))
}

// Run runs the command that args name and returns the exit code. It never calls
// os.Exit. SIGINT and SIGTERM cancel the context; a second one kills.
func (p *Program) Run(ctx context.Context, env *Env, args []string) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		stop()
	}()
	if len(args) == 0 {
		fmt.Fprint(env.Stderr, p.usage())
		return ExitError
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		return p.help(env, args[1:])
	case "version", "--version":
		fmt.Fprintf(env.Stdout, "%s %s\n", p.Name, p.Version)
		return ExitOK
	case "man":
		p.man(env.Stdout)
		return ExitOK
	case "completion":
		return p.completion(env, args[1:])
	case completeWord:
		p.complete(env.Stdout, args[1:])
		return ExitOK
	}
	cmd, rest := p.find(args)
	if cmd == nil && p.Default != "" {
		cmd, rest = p.find(append([]string{p.Default}, args...))
	}
	if cmd == nil {
		env.JSON = slices.Contains(args, "--json")
		return p.fail(env, nil, Usagef("%.100q is no command of %s", args[0], p.Name))
	}
	return p.runCommand(ctx, env, cmd, rest)
}

func (p *Program) runCommand(ctx context.Context, env *Env, cmd *Command, args []string) int {
	fs := flag.NewFlagSet(p.Name+" "+cmd.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&env.JSON, "json", false, jsonUsage)
	run := cmd.Flags(fs)
	operands, err := parseInterleaved(fs, args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(env.Stdout, p.commandUsage(cmd, fs))
		return ExitOK
	}
	if err != nil {
		env.JSON = env.JSON || slices.Contains(args, "--json")
		return p.fail(env, cmd, Usagef("%v", err))
	}
	if err := run(ctx, env, operands); err != nil {
		return p.fail(env, cmd, err)
	}
	return env.Exit
}

// parseInterleaved lets flags stand behind operands, as people type them; "--"
// ends the flags.
func parseInterleaved(fs *flag.FlagSet, args []string) ([]string, error) {
	var operands []string
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if len(rest) == 0 {
			return operands, nil
		}
		if used := len(args) - len(rest); used > 0 && args[used-1] == "--" {
			return append(operands, rest...), nil
		}
		operands = append(operands, rest[0])
		args = rest[1:]
	}
}

func (p *Program) find(args []string) (*Command, []string) {
	best, words := -1, 0
	for i := range p.Commands {
		name := strings.Fields(p.Commands[i].Name)
		if len(name) > words && len(args) >= len(name) && slices.Equal(name, args[:len(name)]) {
			best, words = i, len(name)
		}
	}
	if best >= 0 {
		return &p.Commands[best], args[words:]
	}
	return nil, nil
}

// fail prints err and returns the exit code for it.
func (p *Program) fail(env *Env, cmd *Command, err error) int {
	hint := ""
	var h *Hinted
	if errors.As(err, &h) {
		hint = h.Hint
	}
	if errors.Is(err, ErrUsage) && hint == "" {
		hint = fmt.Sprintf("see '%s help'", p.Name)
		if cmd != nil {
			hint = fmt.Sprintf("see '%s help %s'", p.Name, cmd.Name)
		}
	}
	PrintError(env, "", err, hint)
	return ExitError
}

// PrintError reports an error on stderr, as JSON with --json. path may be empty.
func PrintError(env *Env, path string, err error, hint string) {
	if env.JSON {
		WriteJSON(env.Stderr, api.Error{SchemaVersion: api.SchemaVersion, Path: path, Error: err.Error(), Hint: hint})
		return
	}
	s := Style{Colour: ColourFor(env, env.Stderr)}
	text := Printable(err.Error())
	if path != "" {
		text = Printable(path) + ": " + text
	}
	fmt.Fprintf(env.Stderr, "%s %s\n", s.Red("error:"), text)
	if hint != "" {
		fmt.Fprintf(env.Stderr, "%s %s\n", s.Dim("hint:"), Printable(hint))
	}
}

// WriteJSON writes v as one line.
func WriteJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func (p *Program) help(env *Env, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(env.Stdout, p.usage())
		return ExitOK
	}
	cmd, _ := p.find(args)
	if cmd == nil {
		return p.fail(env, nil, Usagef("%.100q is no command of %s", strings.Join(args, " "), p.Name))
	}
	fmt.Fprint(env.Stdout, p.commandUsage(cmd, p.flagsOf(cmd)))
	return ExitOK
}

func (p *Program) usage() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n", p.Name, p.Summary)
	width := 0
	for _, c := range p.Commands {
		width = max(width, len(c.Name))
	}
	for _, c := range p.Commands {
		fmt.Fprintf(&b, "  %s %-*s  %s\n", p.Name, width, c.Name, c.Summary)
	}
	fmt.Fprintf(&b, "\n'%s help COMMAND' says more. Every command takes --json. Also: version, man, completion SHELL.\n", p.Name)
	if p.Epilogue != "" {
		fmt.Fprintf(&b, "\n%s\n", p.Epilogue)
	}
	return b.String()
}

func (p *Program) commandUsage(c *Command, fs *flag.FlagSet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: %s %s [flags] %s\n\n%s\n", p.Name, c.Name, c.Args, c.Summary)
	if c.Help != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(c.Help))
	}
	fmt.Fprintf(&b, "\nflags:\n")
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	sort.Strings(names)
	for _, n := range names {
		f := fs.Lookup(n)
		kind, text := flag.UnquoteUsage(f)
		def := ""
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			def = fmt.Sprintf(" (default %s)", f.DefValue)
		}
		fmt.Fprintf(&b, "  --%-22s %s%s\n", strings.TrimSpace(n+" "+kind), text, def)
	}
	return b.String()
}
