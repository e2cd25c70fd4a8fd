package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"weightwarden/internal/api"
	"weightwarden/internal/bundle"
	"weightwarden/internal/cli"
)

// bundleVerdict is what fpcheck bundle verify --json prints.
type bundleVerdict struct {
	SchemaVersion int    `json:"schema_version"`
	Path          string `json:"path"`
	Intact        bool   `json:"intact"`
	Trusted       bool   `json:"trusted"` // checked with a key that was given, not with the bundle's own
	Key           string `json:"key"`
	Case          string `json:"case"`
	TLP           string `json:"tlp"`
	Made          string `json:"made"`
	MadeBy        string `json:"made_by"`
	Files         int    `json:"files"`
	Bytes         int64  `json:"bytes"`
	AuditEntries  int    `json:"audit_entries"`
	AuditSize     int64  `json:"audit_size"`
}

func bundleVerifyCommand() cli.Command {
	return cli.Command{
		Name:    "bundle verify",
		Args:    "BUNDLE.zip",
		Summary: "check the sealed evidence of a case, offline",
		Help: `Checks the server's signature, the SHA-256 of every file, that nothing was added or left out, and
that each recorded step stands in the server's audit log. The key is the one that the server shows
(fpctl whoami, "snapshot_key"): take it from the server or from whom you trust, not from the bundle.
Without --key the bundle is checked against the key that lies in it, which shows only that it is
consistent.

exit codes: 0 intact and signed with the given key, 1 not as it was sealed, 2 error, or no key was given`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			key := fs.String("key", "", "the server's verifier `KEY`, or a file that has it")
			return func(_ context.Context, env *cli.Env, args []string) error {
				if len(args) != 1 {
					return cli.Usagef("which bundle?")
				}
				return verifyBundle(env, args[0], *key)
			}
		},
	}
}

func verifyBundle(env *cli.Env, path, keyText string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	trusted := keyText != ""
	if trusted {
		keyText, err = keyFrom(keyText)
	} else {
		keyText, err = bundle.OwnKey(f, info.Size())
	}
	if err != nil {
		return err
	}
	key, err := note.NewVerifier(keyText)
	if err != nil {
		return cli.Hint(fmt.Errorf("key: %w", err), "it looks like weightwarden+1a2b3c4d+BASE64; the server shows it")
	}
	r, err := bundle.Verify(f, info.Size(), key)
	if errors.Is(err, bundle.ErrTampered) || errors.Is(err, bundle.ErrSignature) {
		env.Exit = cli.ExitMatch
		cli.PrintError(env, path, err, "do not rely on this file; ask the server for a fresh one")
		return nil
	}
	if err != nil {
		return err
	}
	if !trusted {
		env.Exit = cli.ExitError
	}
	return printBundle(env, path, keyText, trusted, r)
}

// keyFrom takes a key itself, or the file that has it.
func keyFrom(text string) (string, error) {
	if !strings.ContainsRune(text, '+') || filepath.IsAbs(text) {
		f, err := os.Open(text)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, 4096))
		if err != nil {
			return "", err
		}
		text = string(bytes.TrimSpace(b))
	}
	return strings.TrimSpace(text), nil
}

func printBundle(env *cli.Env, path, key string, trusted bool, r *bundle.Report) error {
	m := &r.Manifest
	v := bundleVerdict{SchemaVersion: api.SchemaVersion, Path: path, Intact: true, Trusted: trusted, Key: key, Case: m.Case, TLP: m.TLP, Made: m.Made.UTC().Format("2006-01-02T15:04:05Z"),
		MadeBy: m.MadeBy, Files: r.Files, Bytes: r.Bytes, AuditEntries: r.Proven, AuditSize: r.Tree.N}
	if env.JSON {
		return cli.WriteJSON(env.Stdout, v)
	}
	style := cli.Style{Colour: cli.ColourFor(env, env.Stdout)}
	word := style.Green("INTACT")
	if !trusted {
		word = style.Yellow("CONSISTENT, NOT TRUSTED")
	}
	fmt.Fprintf(env.Stdout, "%s  %s\n", word, cli.PrintableLine(path))
	fmt.Fprintf(env.Stdout, "  case %s, TLP:%s, sealed %s by %s\n", cli.PrintableLine(m.Case), cli.PrintableLine(m.TLP), v.Made, cli.PrintableLine(m.MadeBy))
	fmt.Fprintf(env.Stdout, "  %d files, %s, each with the SHA-256 that was signed\n", r.Files, cli.Bytes(r.Bytes))
	fmt.Fprintf(env.Stdout, "  %d steps proven in an audit log of %d entries\n", r.Proven, r.Tree.N)
	fmt.Fprintf(env.Stdout, "  key %s\n", cli.PrintableLine(key))
	if !trusted {
		fmt.Fprintln(env.Stdout, "  That key lies in the bundle itself. Compare it with the server's, or give the server's with --key.")
	}
	return nil
}
