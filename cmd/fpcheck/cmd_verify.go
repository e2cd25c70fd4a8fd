package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"

	"weightwarden/formats/file"
	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/internal/judge"
)

func verifyCommand() cli.Command {
	return cli.Command{
		Name:    "verify",
		Args:    "FILE|DIR ...",
		Summary: "judge files: does one of them hold registered weights?",
		Help: `Every file is judged by its content, whatever its name. Folders are walked; files below
4 kB are passed by there, but for those that stand for more (lists of shards, manifest.ocdbt,
.zarray). Shards that lie in one folder are judged one by one and together.

exit codes: 0 nothing found, 1 registered weights found, 2 error or something could not be
judged. A match counts more than an error elsewhere.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			v := &verifier{}
			v.register(fs)
			fs.BoolVar(&v.quick, "quick", false, "read headers and sampled rows only, where that can decide")
			full := fs.Bool("full", false, "read every byte (the default)")
			page := fs.String("report", "", "write a page to `OUT.html` that shows every verdict and its proof")
			fs.BoolVar(&v.all, "all", false, "show clear files of a folder too")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) == 0 {
					return cli.Usagef("which file?")
				}
				if v.quick && *full {
					return cli.Usagef("--quick and --full exclude each other")
				}
				if *page != "" {
					v.report = newReporter(*page)
				}
				return v.run(ctx, env, args)
			}
		},
	}
}

// verifier is one run of fpcheck verify.
type verifier struct {
	common
	quick, all bool

	env      *cli.Env
	judge    *judge.Judge // by all cores
	single   judge.Judge  // the same by one
	crew     *crew
	progress *cli.Progress
	printer  *printer
	report   *reporter // nil: none is wanted
	walker   walker
	parts    parts
	tally    tally
}

// tally counts what was judged; sets are counted apart from their files.
type tally struct{ judged, hits, clear, open, failed, sets int }

func (v *verifier) run(ctx context.Context, env *cli.Env, args []string) error {
	db, name, err := v.openFor(env)
	if err != nil {
		return err
	}
	defer db.Close()
	v.env, v.progress = env, cli.NewProgress(env)
	if v.judge, err = v.common.judge(env, db, v.progress); err != nil {
		return err
	}
	v.judge.Registry = name
	if v.report != nil {
		if err := v.report.against(ctx, db, name); err != nil {
			return err
		}
	}
	v.single = *v.judge
	v.single.Jobs = 1
	if err := v.walk(ctx, args); err != nil {
		return err
	}
	if err := v.sets(ctx); err != nil {
		return err
	}
	v.summary(args)
	if v.report != nil {
		if err := v.report.write(v.walker.small, v.walker.other, v.tally.failed); err != nil {
			return err
		}
	}
	switch {
	case v.tally.hits+v.tally.sets > 0:
		env.Exit = cli.ExitMatch
	case v.tally.open+v.tally.failed > 0:
		env.Exit = cli.ExitError
	}
	return nil
}

// fail reports a file that could not be judged; the run goes on.
func (v *verifier) fail(path string, err error) {
	v.progress.Clear()
	hint := ""
	var h *cli.Hinted
	if errors.As(err, &h) {
		hint = h.Hint
	}
	cli.PrintError(v.env, path, err, hint)
	v.tally.failed++
}

// walk judges every file that the operands name or hold.
func (v *verifier) walk(ctx context.Context, operands []string) error {
	v.crew = newCrew(v.cores(), func(f judged) { v.take(ctx, f) })
	v.walker = walker{visit: func(path string) error { return v.visit(ctx, path) }}
	v.walker.fail = func(path string, err error) {
		_ = v.crew.add(ctx, false, func() judged { return judged{path: path, err: err} }) // in its turn
	}
	var err error
	for _, operand := range operands {
		v.printer = &printer{env: v.env, all: v.all || !isDir(operand)}
		v.progress.Start(operand, 0)
		if err = v.walker.walk(ctx, operand); err != nil {
			break
		}
	}
	v.crew.wait()
	v.progress.Clear()
	if ctx.Err() != nil {
		return errors.New("stopped before all files were judged")
	}
	return err
}

// cores is how many files are judged at a time.
func (c *common) cores() int {
	if c.jobs > 0 {
		return c.jobs
	}
	return runtime.GOMAXPROCS(0)
}

// visit has one file judged. Its error ends the run: only a cancelled context does.
func (v *verifier) visit(ctx context.Context, path string) error {
	f := judged{path: path, printer: v.printer}
	if f.src, f.err = file.Open(path); f.err != nil {
		f.err = plainError(f.err)
		return v.crew.add(ctx, false, func() judged { return f })
	}
	f.src.LeaveCache() // what runs on this machine needs its page cache more
	alone := f.src.Size() >= aloneFrom
	err := v.crew.add(ctx, alone, func() judged {
		j := &v.single
		if alone {
			j = v.judge
			v.progress.Start(path, f.src.Size())
		}
		if f.subject, f.err = j.Examine(ctx, f.src, v.quick); f.err == nil {
			f.verdict, f.err = j.Verdict(ctx, f.subject, f.src)
		}
		if alone {
			v.progress.Start(path, 0)
		}
		return f
	})
	if err != nil {
		f.src.Close()
	}
	return err
}

// take shows a judged file, or what went wrong.
func (v *verifier) take(ctx context.Context, f judged) {
	kept := false
	defer func() {
		if f.src != nil && !kept {
			f.src.Close()
		}
	}()
	if ctx.Err() != nil {
		return
	}
	v.progress.Clear()
	if f.err != nil {
		v.fail(f.path, f.err)
		return
	}
	f.verdict.Path = f.path
	v.tally.add(f.verdict)
	v.show(f.printer, f.verdict)
	kept = v.parts.add(f.path, f.subject, f.src, f.verdict)
}

// add counts the verdict of a file.
func (t *tally) add(verdict *api.Verdict) {
	t.judged++
	switch {
	case verdict.Verdict.IsHit():
		t.hits++
	case verdict.Verdict == api.Inconclusive:
		t.open++
	default:
		t.clear++
	}
}

func (v *verifier) show(p *printer, verdict *api.Verdict) {
	p.verdict(verdict)
	if v.report != nil {
		v.report.add(verdict, p.all)
	}
}

// sets judges together what may be the parts of one model.
func (v *verifier) sets(ctx context.Context) error {
	defer v.parts.close()
	for _, set := range v.parts.sets() {
		verdict, err := set.judge(ctx, v.judge)
		if err != nil {
			return err
		}
		// A set that shows no more than one of its files, or a list of shards, is no news.
		if !verdict.Verdict.IsHit() || extent(verdict) <= set.best {
			continue
		}
		v.tally.sets++
		v.show(v.printer, verdict)
	}
	return nil
}

// summary closes a run over more than one file.
func (v *verifier) summary(args []string) {
	if v.env.JSON || len(args) == 1 && !isDir(args[0]) {
		return
	}
	s := cli.Style{Colour: cli.ColourFor(v.env, v.env.Stdout)}
	t := v.tally
	fmt.Fprintf(v.env.Stdout, "%s judged: %s, %d clear", cli.Plural(t.judged, "file", "files"), hitCount(s, t.hits), t.clear)
	if t.sets > 0 {
		fmt.Fprintf(v.env.Stdout, ", %s", s.Red(cli.Plural(t.sets, "match of files together", "matches of files together")))
	}
	if t.open+t.failed > 0 {
		fmt.Fprintf(v.env.Stdout, ", %s", s.Yellow(fmt.Sprintf("%d could not be judged", t.open+t.failed)))
	}
	passedBy(v.env.Stdout, v.walker.small, v.walker.other)
}

func hitCount(s cli.Style, n int) string {
	text := cli.Plural(n, "match", "matches")
	if n > 0 {
		return s.Red(text)
	}
	return text
}

func passedBy(w io.Writer, small, other int) {
	switch {
	case small > 0 && other > 0:
		fmt.Fprintf(w, "; passed by: %d smaller than 4 kB, %d links and devices\n", small, other)
	case small > 0:
		fmt.Fprintf(w, "; passed by: %d smaller than 4 kB\n", small)
	case other > 0:
		fmt.Fprintf(w, "; passed by: %d links and devices\n", other)
	default:
		fmt.Fprintln(w)
	}
}
