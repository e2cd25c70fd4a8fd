package archtest

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"weightwarden/internal/fixtures"
)

// source is the module's, parsed once for all rules.
var source = sync.OnceValues(func() ([]*File, error) { return Load(filepath.Join("..", "..")) })

func load(t *testing.T) []*File {
	t.Helper()
	files, err := source()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 200 {
		t.Fatalf("only %d source files found: the walk is broken", len(files))
	}
	return files
}

// arrow says what the packages below From must not import, and why. Tests are
// held to it as well unless Tests is set.
type arrow struct {
	From   string
	Except []string // folders below From that the arrow leaves out
	Not    []string // import paths; those below them count too
	Tests  bool     // tests may
	Why    string
}

var arrows = []arrow{
	{From: "formats", Not: local("fingerprint", "internal", "agent", "server", "cmd"), Tests: true,
		Why: "formats stands leftmost: it knows files and nothing else"},
	{From: "formats", Except: []string{"formats/sandbox"}, Tests: true,
		Not: []string{"os/exec", "net", "net/http", "plugin"},
		Why: "nothing is started or called because of a file"},
	{From: "formats", Except: opensFiles, Tests: true,
		Not: []string{"os", "os/exec", "net", "net/http", "plugin", "syscall", "unsafe", "golang.org/x/sys"},
		Why: "a decoder sees bytes: it opens, starts and calls nothing"},
	{From: "fingerprint", Not: local("internal", "agent", "server", "cmd"), Tests: true,
		Why: "fingerprint states facts and knows no policy"},
	{From: "fingerprint", Not: []string{"os/exec", "net", "net/http", "plugin"}, Tests: true,
		Why: "a fingerprint is computed here, from what it is given"},
	{From: "internal/api", Not: local("agent", "server", "cmd", "internal/cli", "internal/judge"),
		Why: "wire types have no behaviour"},
	{From: "internal/policy", Not: append(local("agent", "server", "cmd", "internal/cli"), "os", "net", "net/http"), Tests: true,
		Why: "policy is pure"},
	{From: "internal", Except: []string{"internal/archtest"}, Not: local("agent", "server", "cmd"), Tests: true,
		Why: "what both sides share knows neither side"},
	{From: "agent", Not: local("server", "cmd"), Why: "agent and server meet only on the wire", Tests: true},
	{From: "agent", Not: local(decoders...), Why: "the agent runs as root: only its confined child reads the structure of files", Tests: true},
	{From: "server", Not: local("agent", "cmd"), Why: "agent and server meet only on the wire", Tests: true},
}

// decoders are the packages that read the structure of files.
var decoders = []string{"formats/all", "formats/archive", "formats/coreml", "formats/gguf", "formats/hdf5", "formats/npy", "formats/ocdbt", "formats/onnx",
	"formats/pytorch", "formats/quant", "formats/safetensors", "formats/sharded", "formats/tensorflow", "formats/tensorrt", "formats/tfjs", "formats/tflite", "formats/zarr"}

// opensFiles are the packages of formats that touch the disk: to open a file, to
// hold an unpacked member in a nameless temporary file, to build tests.
var opensFiles = []string{"formats/spool.go", "formats/file", "formats/archive/dir", "formats/sandbox", "formats/formatstest"}

func local(dirs ...string) []string {
	out := make([]string, len(dirs))
	for i, d := range dirs {
		out[i] = Module + "/" + d
	}
	return out
}

func (a arrow) appliesTo(f *File) bool {
	if !Under(f.Dir, a.From) || a.Tests && f.Test {
		return false
	}
	for _, e := range a.Except {
		if Under(f.Dir, e) || f.Path == e {
			return false
		}
	}
	return true
}

func (a arrow) forbids(path string) bool {
	for _, not := range a.Not {
		// "os" forbids os itself, not os/signal; paths of modules forbid what is below.
		if path == not || strings.ContainsAny(not, "./") && Under(path, not) || Under(not, Module) && Under(path, not) {
			return true
		}
	}
	return false
}

func TestImports(t *testing.T) {
	for _, f := range load(t) {
		for _, a := range arrows {
			if !a.appliesTo(f) {
				continue
			}
			for _, path := range f.Imports() {
				if a.forbids(path) {
					t.Errorf("%s imports %s: %s", f.Path, path, a.Why)
				}
			}
		}
	}
}

// The list of all decoders is handed in from the outside, so that a test or a
// sandbox can hold fewer.
func TestOnlyProgramsImportAllDecoders(t *testing.T) {
	for _, f := range load(t) {
		if f.Test || f.AST.Name.Name == "main" || Under(f.Dir, "cmd") || Under(f.Dir, "formats/all") {
			continue
		}
		for _, path := range f.Imports() {
			if path == Module+"/formats/all" {
				t.Errorf("%s imports formats/all: only programs and tests do", f.Path)
			}
		}
	}
}

// In fpagent the decoders are for the child alone: main hands them to sandbox.Child
// and nothing else on Linux names them.
func TestAgentDecodesOnlyInTheChild(t *testing.T) {
	used := 0
	for _, f := range load(t) {
		if f.Test || !Under(f.Dir, "cmd/fpagent") || f.Path == "cmd/fpagent/decoder_other.go" {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Child" {
				used++
				return false // what is handed to the child
			}
			return true
		})
		for _, d := range f.AST.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && fn.Name.Name != "main" && fn.Body != nil {
				calls(fn.Body, func(pkg, name string, call *ast.CallExpr) {
					if pkg == "all" {
						t.Errorf("%s: %s.%s outside of the child", f.Position(call), pkg, name)
					}
				})
			}
		}
	}
	if used != 1 {
		t.Errorf("fpagent hands decoders to %d children, want one place", used)
	}
}

func TestOneDocCommentPerPackage(t *testing.T) {
	docs, names := map[string][]string{}, map[string]string{}
	for _, f := range load(t) {
		if f.Test {
			continue
		}
		names[f.Dir] = f.AST.Name.Name
		if f.AST.Doc != nil && strings.TrimSpace(f.AST.Doc.Text()) != "" {
			docs[f.Dir] = append(docs[f.Dir], f.Path)
		}
	}
	for dir, name := range names {
		switch n := len(docs[dir]); {
		case n == 0:
			t.Errorf("%s: package %s has no doc comment", dir, name)
		case n > 1:
			t.Errorf("%s: package %s has %d doc comments: %v", dir, name, n, docs[dir])
		}
	}
}

func TestNoInitFunctions(t *testing.T) {
	for _, f := range load(t) {
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: init() runs behind everybody's back; call it from main", f.Position(fn))
			}
		}
	}
}

// TestExitsOnlyInMain finds os.Exit, log.Fatal and their kind outside of a main
// package's main function. Tests that play a child process may.
func TestExitsOnlyInMain(t *testing.T) {
	for _, f := range load(t) {
		if f.Test {
			continue
		}
		for _, d := range f.AST.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil || f.AST.Name.Name == "main" && fn.Name.Name == "main" {
				continue
			}
			calls(fn.Body, func(pkg, name string, call *ast.CallExpr) {
				if pkg == "os" && name == "Exit" || pkg == "log" && (strings.HasPrefix(name, "Fatal") || strings.HasPrefix(name, "Panic")) {
					t.Errorf("%s: %s.%s outside of main", f.Position(call), pkg, name)
				}
			})
		}
	}
}

func TestSkipsSayWhy(t *testing.T) {
	for _, f := range load(t) {
		if !f.Test {
			continue
		}
		calls(f.AST, func(_, name string, call *ast.CallExpr) {
			bare := name == "SkipNow"
			if name == "Skip" || name == "Skipf" {
				bare = len(call.Args) == 0
				if len(call.Args) > 0 {
					lit, ok := call.Args[0].(*ast.BasicLit)
					bare = ok && lit.Kind == token.STRING && len(lit.Value) < 12
				}
			}
			if bare && len(call.Args) < 2 {
				t.Errorf("%s: a skipped test says why in a sentence", f.Position(call))
			}
		})
	}
}

// TestOnlyCommandsPrint keeps the terminal to cmd and internal/cli.
func TestOnlyCommandsPrint(t *testing.T) {
	for _, f := range load(t) {
		if f.Test || f.AST.Name.Name == "main" || Under(f.Dir, "cmd") || Under(f.Dir, "internal/cli") {
			continue
		}
		calls(f.AST, func(pkg, name string, call *ast.CallExpr) {
			if pkg == "fmt" && (name == "Print" || name == "Println" || name == "Printf") {
				t.Errorf("%s: fmt.%s writes to the terminal from a library", f.Position(call), name)
			}
		})
	}
}

// calls visits every call of the form name.Function.
func calls(n ast.Node, visit func(receiver, name string, call *ast.CallExpr)) {
	ast.Inspect(n, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok {
			visit(x.Name, sel.Sel.Name, call)
		}
		return true
	})
}

// TestRulesBite holds the rules against a source that breaks them, since a rule
// that never fails proves nothing.
func TestRulesBite(t *testing.T) {
	cases := []struct {
		dir, path string
		test      bool
		forbidden bool
	}{
		{"formats/gguf", "os/exec", false, true},
		{"formats/gguf", "os", false, true},
		{"formats/gguf", "os", true, false},
		{"formats/gguf", "encoding/binary", false, false},
		{"formats/file", "os", false, false},
		{"formats", "weightwarden/internal/api", false, true},
		{"fingerprint/index", "net/http", false, true},
		{"fingerprint/index", "weightwarden/internal/cli", false, true},
		{"agent/spool", "weightwarden/server", false, true},
		{"agent/spool", "weightwarden/server/store", false, true},
		{"server/ingest", "weightwarden/agent", false, true},
		{"server/ingest", "weightwarden/internal/api", false, false},
		{"internal/judge", "weightwarden/agent/scan", false, true},
		{"cmd/fpagent", "weightwarden/agent", false, false},
	}
	for _, c := range cases {
		got := false
		f := &File{Dir: c.dir, Test: c.test}
		for _, a := range arrows {
			got = got || a.appliesTo(f) && a.forbids(c.path)
		}
		if got != c.forbidden {
			t.Errorf("%s (test %v) importing %s: forbidden %v, want %v", c.dir, c.test, c.path, got, c.forbidden)
		}
	}
}

// TestFunctionsStayReadable caps the length of a function; tables and generated
// code are not functions.
func TestFunctionsStayReadable(t *testing.T) {
	for _, f := range load(t) {
		if ast.IsGenerated(f.AST) {
			continue
		}
		most := 100
		if f.Test {
			most = 150 // tables of cases
		}
		for _, d := range f.AST.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			if n := f.Set.Position(fn.End()).Line - f.Set.Position(fn.Pos()).Line; n > most {
				t.Errorf("%s: %s has %d lines, %d is the most", f.Position(fn), fn.Name.Name, n, most)
			}
		}
	}
}

// linked matches the target of a link to a file of the repository.
var linked = regexp.MustCompile(`\]\(([^)#:]+)\)`)

// inBackticks matches a path of the repository in a document.
var inBackticks = regexp.MustCompile("`((?:cmd|formats|fingerprint|agent|server|internal|docs|deploy|testdata|demo|\\.ci)/[A-Za-z0-9_.*/-]*)`")

// TestDocsNameRealPaths keeps documents from naming what was moved or never made.
func TestDocsNameRealPaths(t *testing.T) {
	root := fixtures.Root(t)
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(docs) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	for _, doc := range append(docs, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inBackticks.FindAllSubmatch(text, -1) {
			if found, err := filepath.Glob(filepath.Join(root, string(m[1]))); err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which does not exist", filepath.Base(doc), m[1])
			}
		}
		for _, m := range linked.FindAllSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), string(m[1]))); err != nil {
				t.Errorf("%s links to %s, which does not exist", filepath.Base(doc), m[1])
			}
		}
	}
}
