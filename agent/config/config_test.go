package config

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	c, err := Parse([]byte("watch:\n  paths: [/data, /home]\n  sweep_interval: 0\nfiles:\n  min_size: 4MiB\nsettle: {quiet: 200ms}\nlimits:\n  bytes_per_second: 100MB\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Watch.Paths) != 2 || c.Files.MinSize != 4<<20 || time.Duration(c.Settle.Quiet) != 200*time.Millisecond ||
		c.Limits.BytesPerSecond != 100e6 || c.Watch.SweepInterval != 0 || !c.Watch.SweepAtStart {
		t.Fatalf("%+v", c)
	}
	for _, empty := range []string{"", "# nothing\n", "watch:\n"} {
		if c, err := Parse([]byte(empty)); err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("%q: %+v, %v", empty, c, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"watch:\n  exclud: [/x]\n", `line 2: unknown key "watch.exclud"; did you mean "watch.exclude"?`},
		{"stat_dir: /x\n", `line 1: unknown key "stat_dir"; did you mean "state_dir"?`},
		{"zzzzzzzz: 1\n", `line 1: unknown key "zzzzzzzz"`},
		{"files:\n  min_size: many\n", `line 2: "many" is no size`},
		{"settle: {quiet: soon}\n", `line 1: "soon" is no duration`},
		{"settle: {quiet: -5s}\n", "is no duration"},
		{"watch: {paths: [data]}\n", `watch.paths[0]: "data" is not absolute`},
		{"watch: {paths: []}\n", "watch.paths: names nothing"},
		{"watch: {tier: magic}\n", `watch.tier: "magic", may be auto`},
		{"watch: 5\n", "line 1: watch must be a mapping"},
		{"- a\n", "the file must be a mapping"},
		{"server: http://x\n", "https://"},
		{"limits: {workers: 0}\n", "limits.workers: 0"},
		{"limits: {workers: 1}\nlimits: {workers: 2}\n", "second time"},
		{"files: {min_size: 99999999999TB}\n", "is no size"},
		{"a: *b\n", "unknown anchor"},
		{"\tx", "yaml"},
	} {
		_, err := Parse([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error is %v, want %q", tt.text, err, tt.want)
		}
	}
}

// TestSchemaHoldsEveryKey keeps schema.json and the struct together.
func TestSchemaHoldsEveryKey(t *testing.T) {
	type node struct {
		Properties           map[string]json.RawMessage `json:"properties"`
		AdditionalProperties *bool                      `json:"additionalProperties"`
	}
	var check func(raw []byte, typ reflect.Type, at string)
	check = func(raw []byte, typ reflect.Type, at string) {
		var n node
		if err := json.Unmarshal(raw, &n); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		if n.AdditionalProperties == nil || *n.AdditionalProperties {
			t.Errorf("%s: additionalProperties is not false", at)
		}
		for i := range typ.NumField() {
			key := typ.Field(i).Tag.Get("yaml")
			sub, ok := n.Properties[key]
			if !ok {
				t.Errorf("%s%s is not in the schema", at, key)
				continue
			}
			delete(n.Properties, key)
			if typ.Field(i).Type.Kind() == reflect.Struct {
				check(sub, typ.Field(i).Type, at+key+".")
			}
		}
		for key := range n.Properties {
			t.Errorf("%s%s is in the schema only", at, key)
		}
	}
	check([]byte(Schema), reflect.TypeFor[Config](), "")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("watch:\n  paths: [/data]\n"))
	f.Add([]byte("limits: {queue: 12}\nsettle: {quiet: 1s}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err == nil {
			if err := c.Check(); err != nil {
				t.Fatalf("accepted, but: %v", err)
			}
		}
	})
}
