// Package archtest holds the rules of docs/architecture.md over the source of the
// whole module: which package may import which, one doc comment a package, no
// hidden start-up code, no exits in the middle. The rules run as its tests.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// Module is the path of the module in go.mod.
const Module = "weightwarden"

// File is one parsed source file.
type File struct {
	Path string // relative to the module's root, with slashes
	Dir  string // package folder, "." for the root
	Test bool
	AST  *ast.File
	Set  *token.FileSet
}

// Position says where a node stands, for messages.
func (f *File) Position(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.Path, f.Set.Position(n.Pos()).Line)
}

// Imports returns the import paths of the file.
func (f *File) Imports() []string {
	var out []string
	for _, spec := range f.AST.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// Load parses every Go file below root, whatever its build tags, but for modules
// of their own and folders that the Go tool leaves out.
func Load(root string) ([]*File, error) {
	var files []*File
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && skipDir(path, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		tree, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		files = append(files, &File{Path: rel, Dir: filepath.ToSlash(filepath.Dir(rel)),
			Test: strings.HasSuffix(rel, "_test.go"), AST: tree, Set: set})
		return nil
	})
	return files, err
}

func skipDir(path, name string) bool {
	if name == "testdata" || name == "node_modules" || strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") {
		return true
	}
	found, err := filepath.Glob(filepath.Join(path, "go.mod"))
	return err == nil && len(found) > 0
}

// Under reports whether the slash-separated path is prefix or lies below it.
func Under(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}
