// Command matrix judges every file of an evasion matrix as fpcheck would and
// writes what was recognised: docs/evasion-matrix.md and a picture beside it. The
// files and their manifest are made by testdata/gen/transform.py, with the real
// tools where one exists; `make matrix` runs both.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/index"
	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/file"
	"weightwarden/internal/api"
	"weightwarden/internal/judge"
)

func main() {
	dir := flag.String("cells", ".matrix", "folder of the files, with manifest.json")
	models := flag.String("models", "testdata/models,testdata/made", "folders of the registered models")
	out := flag.String("out", "docs", "folder of the report")
	flag.Parse()
	if err := run(*dir, strings.Split(*models, ","), *out); err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

// testCase is a cell of the manifest; testdata/README.md describes the fields.
type testCase struct {
	Row      string             `json:"row"`
	Column   string             `json:"column"`
	Verdicts []string           `json:"verdicts"`
	Tool     string             `json:"tool"`
	File     string             `json:"file"`
	Model    string             `json:"model"`
	Registry map[string]string  `json:"registry"`
	Parents  map[string]float64 `json:"parents"` // weights of a merge: either is right
	Note     string             `json:"note"`
}

// result is a judged cell.
type result struct {
	testCase
	verdict *api.Verdict
	found   bool // a hit on the right model, or rightly none
	exact   bool // the word was one of the right ones
	err     error
}

func run(dir string, models []string, out string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		return fmt.Errorf("%w (make the cells with testdata/gen/transform.py)", err)
	}
	var manifest struct {
		Cases []testCase `json:"cases"`
	}
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return err
	}
	e := &evaluation{models: models, prints: map[string]*fingerprint.Fingerprint{}, registries: map[string]*index.DB{}}
	var results []result
	for _, c := range manifest.Cases {
		r := e.judge(dir, c)
		results = append(results, r)
		mark := "ok  "
		switch {
		case r.err != nil:
			mark = "ERR "
		case !r.found:
			mark = "MISS"
		case !r.exact:
			mark = "word"
		}
		fmt.Printf("%s  %-28s %-22s %s\n", mark, c.Row, c.Column, describe(r))
	}
	if err := os.WriteFile(filepath.Join(out, "evasion-matrix.md"), []byte(markdown(results)), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "evasion-matrix.svg"), []byte(picture(results)), 0o644)
}

func describe(r result) string {
	if r.err != nil {
		return r.err.Error()
	}
	v := r.verdict
	return fmt.Sprintf("%s %s %.0f%%, want %s of %q, %d bytes, %.3f s", v.Verdict, v.Model, 100*v.Coverage.Parameters,
		strings.Join(r.Verdicts, "|"), r.Model, v.BytesRead, v.Seconds)
}

// evaluation keeps fingerprints and registries between cells.
type evaluation struct {
	models     []string
	prints     map[string]*fingerprint.Fingerprint
	registries map[string]*index.DB
}

// bystanders are registered in every cell, protected, so that each cell also
// shows that the wrong model is not named.
var bystanders = []string{"nova-b", "borealis"}

func (e *evaluation) judge(dir string, c testCase) result {
	r := result{testCase: c}
	db, err := e.registry(c)
	if err != nil {
		r.err = err
		return r
	}
	j := &judge.Judge{Decoder: all.Decoders(), Matcher: db, Registry: "matrix"}
	s, src, err := examine(j, filepath.Join(dir, filepath.FromSlash(c.File)))
	if err != nil {
		r.err = err
		return r
	}
	if r.verdict, r.err = j.Verdict(context.Background(), s, src); r.err != nil {
		return r
	}
	r.exact = slices.Contains(c.Verdicts, string(r.verdict.Verdict))
	wantHit := slices.ContainsFunc(c.Verdicts, func(w string) bool { return api.Word(w).IsHit() })
	switch {
	case wantHit:
		_, parent := c.Parents[r.verdict.Model]
		r.found = r.verdict.Verdict.IsHit() && (r.verdict.Model == c.Model || parent)
	default:
		r.found = !r.verdict.Verdict.IsHit() && (c.Model == "" || r.verdict.Model == c.Model)
	}
	return r
}

// examine fingerprints a cell's file, or the files of a folder as one set.
func examine(j *judge.Judge, path string) (*judge.Subject, formats.Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.IsDir() {
		src, err := file.Open(path)
		if err != nil {
			return nil, nil, err
		}
		s, err := j.Examine(context.Background(), src, false)
		return s, src, err
	}
	names, err := filepath.Glob(filepath.Join(path, "*"))
	if err != nil {
		return nil, nil, err
	}
	var parts []*judge.Subject
	for _, name := range names {
		s, _, err := examine(j, name)
		if err != nil {
			return nil, nil, err
		}
		parts = append(parts, s)
	}
	s, err := judge.JoinSubjects(parts)
	return s, nil, err
}

func (e *evaluation) registry(c testCase) (*index.DB, error) {
	kinds := map[string]string{}
	for _, name := range bystanders {
		// Where the bystander itself is what the file is made of, it is left out.
		if c.Row != "independent" && c.Row != "merge stranger" {
			kinds[name] = api.KindProtected
		}
	}
	for name, kind := range c.Registry {
		kinds[name] = kind
	}
	names := make([]string, 0, len(kinds))
	for name := range kinds {
		names = append(names, name)
	}
	sort.Strings(names)
	key := ""
	for _, n := range names {
		key += n + "=" + kinds[n] + ";"
	}
	if db := e.registries[key]; db != nil {
		return db, nil
	}
	db := index.New()
	for _, name := range names {
		fp, err := e.fingerprint(name)
		if err != nil {
			return nil, err
		}
		if err := db.Add(index.Entry{Model: name, Version: "1", Kind: kinds[name], Artifact: name, Fingerprint: fp}); err != nil {
			return nil, err
		}
	}
	e.registries[key] = db
	return db, nil
}

func (e *evaluation) fingerprint(name string) (*fingerprint.Fingerprint, error) {
	if fp := e.prints[name]; fp != nil {
		return fp, nil
	}
	var last error
	for _, dir := range e.models {
		src, err := file.Open(filepath.Join(dir, name+".safetensors"))
		if err != nil {
			last = err
			continue
		}
		defer src.Close()
		m, err := all.Decoders().Decode(context.Background(), src, formats.DefaultLimits())
		if err != nil {
			return nil, err
		}
		fp, err := fingerprint.Compute(context.Background(), src, m, fingerprint.Options{Register: true})
		if err == nil {
			e.prints[name] = fp
		}
		return fp, err
	}
	return nil, last
}
