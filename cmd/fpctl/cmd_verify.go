package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
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
	"weightwarden/internal/snapshot"
	"weightwarden/server/audit"
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
	tmp, err := os.CreateTemp(filepath.Dir(out), ".fpdb-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	h := blake3.New()
	n, err := io.Copy(io.MultiWriter(tmp, h), io.LimitReader(resp.Body, m.Full().Bytes+1))
	if err = errors.Join(err, tmp.Close()); err != nil {
		return nil, err
	}
	if n != m.Full().Bytes || hex.EncodeToString(h.Sum(nil)) != m.Full().BLAKE3 {
		return nil, cli.Hint(fmt.Errorf("the registry's bytes are not those that the manifest of epoch %d names", m.Epoch), "a new epoch may have come in between: try again")
	}
	return m, os.Rename(tmp.Name(), out)
}

// witness is what fpctl remembers of a server's audit log between two runs.
type witness struct {
	Size int64  `json:"size"`
	Hash string `json:"hash"`
}

func auditVerifyCommand() cli.Command {
	c := simple("audit verify", "read the whole audit log and prove that nothing in it was changed, removed or reordered", auditVerify)
	c.Help = `Every leaf is hashed anew and must give the root that the server signs. The root of the last run is
kept beside the login and must still be a beginning of today's log, so that a server cannot
rewrite its past either. Exit code 2: something does not fit.`
	return c
}

func auditVerify(ctx context.Context, env *cli.Env, c *client) error {
	v, err := verifier(ctx, c)
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
	path := filepath.Join(dir, "audit-witness.json")
	last, err := readWitness(path, v.Name()+fmt.Sprintf("+%08x", v.KeyHash()))
	if err != nil {
		return err
	}
	check := audit.NewChecker(last)
	for check.Size() < tree.N {
		var page api.AuditPage
		query := url.Values{"from": {strconv.FormatInt(check.Size(), 10)}, "limit": {"1000"}}
		if err := c.call(ctx, http.MethodGet, api.PathAudit, query, nil, &page); err != nil {
			return err
		}
		if len(page.Leaves) == 0 {
			return fmt.Errorf("the audit log ends after %d of %d entries", check.Size(), tree.N)
		}
		for _, leaf := range page.Leaves {
			if check.Size() == tree.N {
				break // written meanwhile
			}
			if err := check.Add(leaf); err != nil {
				return err
			}
		}
	}
	if err := check.Finish(tree); err != nil {
		return err
	}
	if err := writeWitness(path, v.Name()+fmt.Sprintf("+%08x", v.KeyHash()), tree); err != nil {
		return err
	}
	if env.JSON {
		return cli.WriteJSON(env.Stdout, map[string]any{"schema_version": api.SchemaVersion, "entries": tree.N, "root": tree.Hash.String(), "verified": true})
	}
	_, err = fmt.Fprintf(env.Stdout, "%s verified, root %s\n", cli.Plural(int(tree.N), "audit entry", "audit entries"), tree.Hash)
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
	return os.WriteFile(path, append(b, '\n'), 0o600)
}
