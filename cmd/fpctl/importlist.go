package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"weightwarden/internal/api"
)

// wanted is one model version that an import is to register.
type wanted struct {
	Path      string `json:"path"` // file or folder; beside the list where it is not absolute
	Name      string `json:"name"`
	Version   string `json:"version"`
	Kind      string `json:"kind"`
	Owner     string `json:"owner"`
	Tier      int    `json:"tier"`
	Regulated bool   `json:"regulated"`
	Note      string `json:"note"`
	Source    string `json:"source"`
}

// Limits of a list.
const (
	maxListed  = 100_000
	maxListRow = 1 << 20
)

// readList reads models from a list: CSV with a heading, or a JSON object a line. What
// a row leaves out is taken from fill. Any bad row refuses the list: nothing was done yet.
func readList(r io.Reader, isCSV bool, base string, fill wanted) ([]wanted, error) {
	rows := jsonRows
	if isCSV {
		rows = csvRows
	}
	list, err := rows(r, fill)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("the list names no model")
	}
	for i := range list {
		w := &list[i]
		if w.Path == "" || w.Name == "" || w.Version == "" {
			return nil, fmt.Errorf("entry %d: path, name and version are wanted", i+1)
		}
		if !filepath.IsAbs(w.Path) {
			w.Path = filepath.Join(base, w.Path)
		}
	}
	return list, nil
}

func jsonRows(r io.Reader, fill wanted) ([]wanted, error) {
	var list []wanted
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxListRow)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if len(list) == maxListed {
			return nil, fmt.Errorf("more than %d models", maxListed)
		}
		w := fill
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&w); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if _, err := d.Token(); err != io.EOF {
			return nil, fmt.Errorf("line %d: something follows the object", n)
		}
		list = append(list, w)
	}
	return list, lines.Err()
}

func csvRows(r io.Reader, fill wanted) ([]wanted, error) {
	in := csv.NewReader(r)
	head, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("heading: %w", err)
	}
	for i, name := range head {
		head[i] = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
	}
	var list []wanted
	for {
		row, err := in.Read()
		if err == io.EOF {
			return list, nil
		}
		if err == nil && len(list) == maxListed {
			err = fmt.Errorf("more than %d models", maxListed)
		}
		if err != nil {
			return nil, err
		}
		w := fill
		for i, cell := range row {
			if err := w.set(head[i], cell); err != nil {
				return nil, fmt.Errorf("entry %d: %w", len(list)+1, err)
			}
		}
		list = append(list, w)
	}
}

// set takes a cell of a column. An empty one leaves what is there.
func (w *wanted) set(column, cell string) error {
	text := map[string]*string{"path": &w.Path, "name": &w.Name, "version": &w.Version, "kind": &w.Kind, "owner": &w.Owner, "note": &w.Note, "source": &w.Source}[column]
	var err error
	switch {
	case text == nil && column != "tier" && column != "regulated":
		return fmt.Errorf("column %.60q: want path, name, version, kind, owner, tier, regulated, note or source", column)
	case cell == "":
	case text != nil:
		*text = cell
	case column == "tier":
		w.Tier, err = strconv.Atoi(cell)
	default:
		w.Regulated, err = strconv.ParseBool(cell)
	}
	return err
}

// findModels lists the models of a folder, by name: each file (or shard set) that lies
// in it, and each topmost folder below that has weights or says by a config.json that
// it is a model. A Hugging Face cache gives one for each snapshot of each repository.
func findModels(root string, fill wanted) ([]wanted, error) {
	names, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var list []wanted
	sets := map[string]bool{}
	for _, e := range names {
		path := filepath.Join(root, e.Name())
		info, err := os.Stat(path)
		switch {
		case err != nil || strings.HasPrefix(e.Name(), "."):
			continue
		case info.IsDir():
			below, err := findBelow(root, e.Name(), fill)
			if err != nil {
				return nil, err
			}
			list = append(list, below...)
		case info.Mode().IsRegular() && info.Size() >= minSize:
			w := fill
			w.Path, w.Name = path, api.ModelName(strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())))
			if set := shardSet(path); set != "" {
				if sets[set] {
					continue
				}
				sets[set] = true
				w.Path, w.Name = set, api.ModelName(filepath.Base(set[:strings.Index(set, "-*-of-")]))
			}
			list = append(list, w)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no model of 1 MiB or more was found in %s", root)
	}
	return list, nil
}

func findBelow(root, top string, fill wanted) ([]wanted, error) {
	var list []wanted
	err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(top, "models--") && d.Name() == "blobs" {
			return filepath.SkipDir
		}
		is, err := isModel(path)
		if err != nil || !is {
			return err
		}
		w := fill
		w.Path = path
		w.Name, w.Version = nameOf(filepath.ToSlash(rel), fill.Version)
		list = append(list, w)
		if len(list) > maxListed {
			return fmt.Errorf("more than %d models", maxListed)
		}
		return filepath.SkipDir
	})
	return list, err
}

// isModel reports whether a folder has weights directly in it, or what describes them.
func isModel(dir string) (bool, error) {
	names, err := os.ReadDir(dir)
	return slices.ContainsFunc(names, func(e fs.DirEntry) bool {
		info, err := os.Stat(filepath.Join(dir, e.Name())) // through the links of a cache
		return err == nil && info.Mode().IsRegular() && (info.Size() >= minSize || e.Name() == "config.json" || e.Name() == "model_index.json")
	}), err
}

// nameOf makes name and version of where a folder lies: of "models--org--name/snapshots/REVISION",
// as Hugging Face caches have it, these; of "org/name" the name org--name.
func nameOf(rel, version string) (string, string) {
	if repo, ok := strings.CutPrefix(rel, "models--"); ok {
		if name, revision, ok := strings.Cut(repo, "/snapshots/"); ok && !strings.Contains(revision, "/") {
			return api.ModelName(name), api.ModelName(revision)
		}
	}
	return api.ModelName(strings.ReplaceAll(rel, "/", "--")), version
}
