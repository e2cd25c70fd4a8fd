package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"weightwarden/internal/cli"
	"weightwarden/server/auth"
	"weightwarden/server/store"
	"weightwarden/server/store/storetest"
)

// A lost token is made anew on the machine; one that is there is not overwritten.
func TestAdminToken(t *testing.T) {
	data := t.TempDir()
	run := func() (int, string) {
		var out, errs bytes.Buffer
		env := &cli.Env{Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }}
		code := program().Run(t.Context(), env, []string{"admin-token", "--data", data})
		return code, out.String() + errs.String()
	}
	if code, out := run(); code == cli.ExitOK {
		t.Errorf("in a folder without a server: %s", out)
	}
	st := storetest.Open(t, store.Config{Path: filepath.Join(data, "server.db")})
	if code, out := run(); code != cli.ExitOK {
		t.Fatalf("exit %d: %s", code, out)
	}
	text, err := os.ReadFile(filepath.Join(data, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := auth.ParseToken(string(text))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := st.TokenBySecret(t.Context(), secret)
	if err != nil || len(tok.Roles) != 1 || tok.Roles[0] != auth.RoleAdmin || tok.Expires.IsZero() {
		t.Errorf("%+v, %v", tok, err)
	}
	if code, out := run(); code == cli.ExitOK {
		t.Errorf("over a token that is there: %s", out)
	}
	if again, err := os.ReadFile(filepath.Join(data, "admin-token")); err != nil || !bytes.Equal(again, text) {
		t.Errorf("the file was changed: %v", err)
	}
}
