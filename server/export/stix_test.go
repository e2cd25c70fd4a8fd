package export

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"weightwarden/internal/api"
	"weightwarden/server/cases"
)

const schemaBase = "http://raw.githubusercontent.com/oasis-open/cti-stix2-json-schemas/stix2.1/schemas/"

// schemas are the published ones, compiled from testdata.
func schemas(t *testing.T) *jsonschema.Compiler {
	t.Helper()
	c := jsonschema.NewCompiler()
	err := fs.WalkDir(os.DirFS("testdata/stix2.1"), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		b, err := os.ReadFile(filepath.Join("testdata/stix2.1", path))
		if err != nil {
			return err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return err
		}
		return c.AddResource(schemaBase+filepath.ToSlash(path), doc)
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func folderOf(kind string) string {
	switch kind {
	case "bundle", "marking-definition", "extension-definition":
		return "common/"
	case "sighting", "relationship":
		return "sros/"
	case "file", "directory", "user-account", "process", "ipv4-addr", "ipv6-addr":
		return "observables/"
	}
	return "sdos/"
}

func evidence(text string) *Evidence {
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	body := &api.Hit{AgentID: "a", ObservedAt: at, Host: api.Host{Name: "gpu-7" + text}, User: api.User{Name: "mallory" + text}, Destination: api.Destination{Class: "removable"},
		Process: &api.Process{PID: 7, Exe: "/usr/bin/cp" + text, Args: []string{"cp", text}, Remote: "192.0.2.7:443"},
		Verdict: api.Verdict{Verdict: api.Identical, Model: "aurora" + text, ModelVersion: "3", Size: 10, Coverage: api.Coverage{Bytes: 1},
			Digests: &api.Digests{SHA256: strings.Repeat("a", 64), BLAKE3: strings.Repeat("b", 64), Content: "cc"}}}
	second := *body
	second.Process = &api.Process{PID: 8, Remote: "[2001:db8::7]:443"}
	second.Verdict.Digests = nil
	return &Evidence{ID: "c1", Title: "stick" + text, Summary: text, TLP: "AMBER+STRICT", Created: at, Modified: at.Add(time.Hour), Incident: true,
		Hits:       []cases.Hit{{ID: "h1", Path: "/media/usb/holiday.zip" + text, Body: body}, {ID: "h2", Path: "x", Body: &second}, {ID: "h3"}},
		Techniques: []cases.Technique{{ID: "AML.T0025", Name: "Exfiltration via Cyber Means", Framework: "ATLAS 5.6"}, {ID: "T1052.001", Name: "Exfiltration over USB", Framework: "ATT&CK 19"}}}
}

// Every object holds to the schema that OASIS published for it, also with hostile
// text, and every reference leads to an object of the bundle.
func TestSTIXHoldsToThePublishedSchemas(t *testing.T) {
	c := schemas(t)
	for name, text := range map[string]string{"plain": "", "hostile": "\x1b[31m\u202e\"<script>\r\n" + strings.Repeat("A", 20000)} {
		b, err := STIX(evidence(text))
		if err != nil {
			t.Fatal(err)
		}
		var bundle struct {
			Objects []map[string]any `json:"objects"`
		}
		if err := json.Unmarshal(b, &bundle); err != nil {
			t.Fatal(err)
		}
		kinds, ids := map[string]int{}, map[string]bool{}
		for _, o := range bundle.Objects {
			kind := o["type"].(string)
			kinds[kind]++
			ids[o["id"].(string)] = true
			s, err := c.Compile(schemaBase + folderOf(kind) + kind + ".json")
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			if err := s.Validate(o); err != nil {
				t.Errorf("%s, %s: %.1500v", name, kind, err)
			}
		}
		for _, o := range bundle.Objects {
			for k, v := range o {
				for _, ref := range refsOf(k, v) {
					if !ids[ref] {
						t.Errorf("%s.%s leads to %s, which is not there", o["type"], k, ref)
					}
				}
			}
		}
		if kinds["file"] < 2 || kinds["incident"] != 1 || kinds["report"] != 1 || kinds["sighting"] != 1 || kinds["ipv6-addr"] != 1 || kinds["attack-pattern"] != 2 {
			t.Errorf("%s: %v", name, kinds)
		}
		if strings.ContainsAny(string(b), "\x1b\u202e") {
			t.Errorf("%s: control characters went through", name)
		}
	}
}

func refsOf(key string, v any) []string {
	switch {
	case strings.HasSuffix(key, "_ref"):
		return []string{v.(string)}
	case strings.HasSuffix(key, "_refs"):
		var out []string
		for _, x := range v.([]any) {
			out = append(out, x.(string))
		}
		return out
	}
	return nil
}

func TestSTIXIsTheSameForTheSame(t *testing.T) {
	a, err1 := STIX(evidence(""))
	b, err2 := STIX(evidence(""))
	if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
		t.Errorf("%v %v, %d and %d bytes", err1, err2, len(a), len(b))
	}
	e := evidence("")
	if e.TLP = "PURPLE"; true {
		if _, err := STIX(e); err == nil {
			t.Error("an unknown TLP is taken")
		}
	}
}
