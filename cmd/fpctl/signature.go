package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weightwarden/internal/cli"
	"weightwarden/internal/modelsign"
)

// checkSignature verifies a model's signature and that each of the files is in it as
// it lies here. It returns who signed.
func checkSignature(ctx context.Context, signature, signedBy string, operands, paths []string) (string, error) {
	text, err := os.ReadFile(signedBy)
	if err != nil {
		return "", err
	}
	trust, err := modelsign.ParseTrust(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", signedBy, err)
	}
	f, err := os.Open(signature)
	if err != nil {
		return "", err
	}
	defer f.Close()
	signed, err := io.ReadAll(io.LimitReader(f, modelsign.MaxBundle+1))
	if err != nil {
		return "", err
	}
	// Models outlive certificates: the time of signing counts.
	m, err := modelsign.Verify(signed, trust, time.Time{})
	if err != nil {
		return "", fmt.Errorf("%s: %w", signature, err)
	}
	for _, p := range paths {
		if err := checkSigned(ctx, m, operands, p); err != nil {
			return "", err
		}
	}
	return m.Signer, nil
}

func checkSigned(ctx context.Context, m *modelsign.Manifest, operands []string, path string) error {
	name := nameWithin(operands, path)
	want, ok := m.Files[name]
	if !ok {
		return cli.Hint(fmt.Errorf("%s is not in the signature (as %q)", path, name), "give the folder that was signed as the operand, and nothing else in it")
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, contextReader{ctx, f}); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != want {
		return fmt.Errorf("%s is not the file that was signed: its SHA-256 is another one", path)
	}
	return nil
}

// nameWithin is a file's path within the operand that led to it, with slashes.
func nameWithin(operands []string, path string) string {
	for _, o := range operands {
		if rel, err := filepath.Rel(o, path); err == nil && rel != "." && !strings.HasPrefix(rel, "..") {
			return filepath.ToSlash(rel)
		}
	}
	return filepath.Base(path)
}

// contextReader stops reading when ctx ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
