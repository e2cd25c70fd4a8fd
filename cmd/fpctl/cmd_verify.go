package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/zeebo/blake3"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/internal/durable"
	"weightwarden/internal/snapshot"
	"weightwarden/server/audit"
	"weightwarden/server/store"
)

func verifier(ctx context.Context, c *client) (note.Verifier, error) {
	var who api.WhoAmI
	if err := c.call(ctx, http.MethodGet, api.PathWhoAmI, nil, nil, &who); err != nil {
		return nil, err
	}
	return note.NewVerifier(who.SnapshotKey)
}

// fetchSnapshot writes the newest registry to a file once its signature, size and
// digest are right; the file at out is replaced whole or not at all.
func fetchSnapshot(ctx context.Context, c *client, out string) (*snapshot.Manifest, error) {
	v, err := verifier(ctx, c)
	if err != nil {
		return nil, err
	}
	var signed []byte
	if err := c.call(ctx, http.MethodGet, api.PathSnapshots+"/latest/manifest", nil, nil, &signed); err != nil {
		return nil, err
	}
	m, err := snapshot.OpenManifest(signed, v)
	if err != nil {
		return nil, err
	}
	resp, err := c.do(ctx, http.MethodGet, api.PathSnapshots+"/latest/fpdb", nil, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	err = durable.Replace(out, 0o600, func(w io.Writer) error {
		h := blake3.New()
		n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(resp.Body, m.Full().Bytes+1))
		if err == nil && (n != m.Full().Bytes || hex.EncodeToString(h.Sum(nil)) != m.Full().BLAKE3) {
			err = cli.Hint(fmt.Errorf("the registry's bytes are not those that the manifest of epoch %d names", m.Epoch), "a new epoch may have come in between: try again")
		}
		return err
	})
	return m, err
}

// witness is what fpctl remembers of a server's audit log between two runs.
type witness struct {
	Size int64  `json:"size"`
	Hash string `json:"hash"`
}

func auditVerifyCommand() cli.Command {
	return cli.Command{
		Name:    "audit verify",
		Summary: "read the whole audit log and prove that nothing in it was changed, removed or reordered",
		Help: `Every leaf is hashed anew and must give the root that the server signs, the hashes that it keeps, and
the entries that the evidence of cases has. The root of the last run is kept beside the login and must still be a
beginning of today's log, so that a server cannot rewrite its past either; so must the checkpoints named by
--checkpoint, for example from the archive of a syslog receiver. Exit code 2: something does not fit.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			var files []string
			fs.Func("checkpoint", "`FILE` with a signed checkpoint that the log must begin with; may be repeated", func(name string) error {
				files = append(files, name)
				return nil
			})
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) > 0 {
					return cli.Usagef("no operand is wanted")
				}
				c, err := connect(env)
				if err != nil {
					return err
				}
				return auditVerify(ctx, env, c, files)
			}
		},
	}
}

// pages reads the audit log of a server part by part.
type pages struct{ c *client }

// AuditPart implements audit.Source.
func (p pages) AuditPart(ctx context.Context, seq int64, limit int) (*store.AuditPart, error) {
	var page api.AuditPage
	query := url.Values{"from": {strconv.FormatInt(seq, 10)}, "limit": {strconv.Itoa(limit)}}
	if err := p.c.call(ctx, http.MethodGet, api.PathAudit, query, nil, &page); err != nil {
		return nil, err
	}
	part := &store.AuditPart{Leaves: page.Leaves, Hashes: page.Hashes}
	for _, e := range page.Cases {
		part.Cases = append(part.Cases, store.CaseEntry(e))
	}
	return part, nil
}

func auditVerify(ctx context.Context, env *cli.Env, c *client, files []string) error {
	v, err := verifier(ctx, c)
	if err != nil {
		return err
	}
	seen, err := readCheckpoints(files, v)
	if err != nil {
		return err
	}
	var head []byte
	if err := c.call(ctx, http.MethodGet, api.PathAuditHead, nil, nil, &head); err != nil {
		return err
	}
	tree, err := audit.OpenHead(head, v)
	if err != nil {
		return err
	}
	dir, err := configDir(env)
	if err != nil {
		return err
	}
	path, server := filepath.Join(dir, "audit-witness.json"), v.Name()+fmt.Sprintf("+%08x", v.KeyHash())
	last, err := readWitness(path, server)
	if err != nil {
		return err
	}
	if _, err := audit.Verify(ctx, pages{c}, tree, append(seen, last)...); err != nil {
		return err
	}
	if err := writeWitness(path, server, tree); err != nil {
		return err
	}
	if env.JSON {
		return cli.WriteJSON(env.Stdout, map[string]any{"schema_version": api.SchemaVersion, "entries": tree.N, "root": tree.Hash.String(), "checkpoints": len(seen), "verified": true})
	}
	_, err = fmt.Fprintf(env.Stdout, "%s verified, root %s\n", cli.Plural(int(tree.N), "audit entry", "audit entries"), tree.Hash)
	return err
}

func readCheckpoints(files []string, v note.Verifier) ([]tlog.Tree, error) {
	var out []tlog.Tree
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		tree, err := audit.OpenHead(b, v)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		out = append(out, tree)
	}
	return out, nil
}

func auditEntryCommand() cli.Command {
	return cli.Command{
		Name:    "audit entry",
		Args:    "NUMBER",
		Summary: "show one entry of the audit log and prove that it is in the log",
		Flags: func(*flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) != 1 {
					return cli.Usagef("the number of one entry is wanted")
				}
				seq, err := strconv.ParseUint(args[0], 10, 63)
				if err != nil {
					return cli.Usagef("%.40q is no number of an entry", args[0])
				}
				c, err := connect(env)
				if err != nil {
					return err
				}
				return auditEntry(ctx, env, c, int64(seq))
			}
		},
	}
}

func auditEntry(ctx context.Context, env *cli.Env, c *client, seq int64) error {
	v, err := verifier(ctx, c)
	if err != nil {
		return err
	}
	var in api.AuditInclusion
	if err := c.call(ctx, http.MethodGet, fmt.Sprintf("%s/%d", api.PathAuditEntries, seq), nil, nil, &in); err != nil {
		return err
	}
	tree, err := audit.CheckInclusion(&in, seq, v)
	if err != nil {
		return err
	}
	if env.JSON {
		return cli.WriteJSON(env.Stdout, in)
	}
	_, err = fmt.Fprintf(env.Stdout, "%s\nentry %d of %d is in the log with the root %s\n", cli.PrintableLine(string(in.Leaf)), seq, tree.N, tree.Hash)
	return err
}

func readWitness(path, server string) (tlog.Tree, error) {
	all, err := readWitnesses(path)
	w, ok := all[server]
	if err != nil || !ok {
		return tlog.Tree{}, err
	}
	h, err := tlog.ParseHash(w.Hash)
	return tlog.Tree{N: w.Size, Hash: h}, err
}

func readWitnesses(path string) (map[string]witness, error) {
	all := map[string]witness{}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	return all, err
}

func writeWitness(path, server string, tree tlog.Tree) error {
	all, err := readWitnesses(path)
	if err != nil {
		return err
	}
	all[server] = witness{tree.N, tree.Hash.String()}
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(path, append(b, '\n'), 0o600)
}
