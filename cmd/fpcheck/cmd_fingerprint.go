package main

import (
	"context"
	"flag"
	"fmt"

	"weightwarden/fingerprint"
	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/internal/durable"
)

// printed is what fpcheck fingerprint --json prints of one file.
type printed struct {
	SchemaVersion int         `json:"schema_version"`
	Path          string      `json:"path"`
	Size          int64       `json:"size"`
	Format        string      `json:"format"`
	Scheme        int         `json:"scheme"`
	KeyID         string      `json:"key_id"`
	Tensors       int         `json:"tensors"`
	Parameters    int64       `json:"parameters"`
	Chunks        int         `json:"chunks"`
	Bytes         int         `json:"fingerprint_bytes"`
	UnreadBytes   int64       `json:"unread_bytes"`
	Output        string      `json:"output,omitempty"`
	Digests       api.Digests `json:"digests"`
}

func fingerprintCommand() cli.Command {
	return cli.Command{
		Name:    "fingerprint",
		Args:    "FILE",
		Summary: "compute the fingerprint of a file, and its digests",
		Help: `The fingerprint holds no weights, only digests and sketches of them: it can leave the machine
that the model lives on. 'fpcheck registry add' takes it in place of the file.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			var c common
			c.compute(fs)
			output := fs.String("o", "", "write the fingerprint to `F.fp`")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) != 1 {
					return cli.Usagef("exactly one file is wanted")
				}
				return printFingerprint(ctx, env, &c, args[0], *output)
			}
		},
	}
}

func printFingerprint(ctx context.Context, env *cli.Env, c *common, path, output string) error {
	l, err := c.load(ctx, env, path)
	if err != nil {
		return err
	}
	defer l.close()
	f := l.print
	encoded := f.Encode()
	if output != "" {
		if err := durable.WriteFile(output, encoded, 0o600); err != nil {
			return err
		}
	}
	out := printed{SchemaVersion: api.SchemaVersion, Path: path, Size: f.Size, Format: f.Format, Scheme: int(f.Scheme),
		KeyID: f.KeyID.String(), Tensors: len(f.Tensors), Parameters: f.Parameters(), Chunks: chunkCount(f),
		Bytes: len(encoded), UnreadBytes: f.UnreadBytes, Output: output}
	if d := f.Digests; d != nil {
		out.Digests.BLAKE3, out.Digests.SHA256 = d.BLAKE3.String(), d.SHA256.String()
	}
	if d := f.Content(); !d.IsZero() {
		out.Digests.Content = d.String()
	}
	if f.UnreadBytes > 0 {
		env.Exit = cli.ExitError
	}
	if env.JSON {
		return cli.WriteJSON(env.Stdout, out)
	}
	out.print(env)
	return nil
}

func (p *printed) print(env *cli.Env) {
	w, s := env.Stdout, cli.Style{Colour: cli.ColourFor(env, env.Stdout)}
	fmt.Fprintf(w, "%s\n  %s, %s: %s, %s, %s\n", s.Bold(cli.PrintableLine(p.Path)), cli.PrintableLine(p.Format), cli.Bytes(p.Size),
		cli.Plural(p.Tensors, "tensor", "tensors"), parameters(p.Parameters), cli.Plural(p.Chunks, "chunk", "chunks"))
	fmt.Fprintf(w, "  blake3   %s\n  sha256   %s\n", p.Digests.BLAKE3, p.Digests.SHA256)
	if p.Digests.Content != "" {
		fmt.Fprintf(w, "  content  %s\n", p.Digests.Content)
	}
	if p.UnreadBytes > 0 {
		fmt.Fprintf(w, "  %s\n", s.Yellow(fmt.Sprintf("%d bytes could not be read", p.UnreadBytes)))
	}
	if p.Output != "" {
		fmt.Fprintf(w, "  written  %s (%s)\n", cli.PrintableLine(p.Output), cli.Bytes(int64(p.Bytes)))
	}
}

func chunkCount(f *fingerprint.Fingerprint) int {
	n := 0
	for i := range f.Pieces {
		n += len(f.Pieces[i].Chunks)
	}
	return n
}

// atPath puts the path in front of an error and keeps its hint.
func atPath(path string, err error) error {
	return fmt.Errorf("%s: %w", path, err)
}
