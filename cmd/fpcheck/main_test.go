package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"weightwarden/internal/api"
	"weightwarden/internal/fixtures"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fpcheck": main})
}

// TestScripts runs testdata/*.txtar against this binary. $MODELS is the folder of
// the real models.
func TestScripts(t *testing.T) {
	schema := filepath.Join(fixtures.Root(t), "docs", "schema", "verdict.v1.json")
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("MODELS", fixtures.Path(t, "models"))
			env.Setenv("SCHEMA", schema)
			env.Setenv("NO_COLOR", "")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"cut":      cut,
			"verdicts": verdicts,
			"exitcode": exitCode,
			"header":   header,
		},
	})
}

// cut FILE OFFSET LENGTH NEW: copies a part of a file.
func cut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: cut FILE OFFSET LENGTH NEW")
	}
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	from, err := strconv.Atoi(args[1])
	ts.Check(err)
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), b[from:min(from+n, len(b))], 0o600))
}

// header FILE LENGTH: writes a safetensors file whose header claims LENGTH bytes.
func header(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: header FILE LENGTH")
	}
	n, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	b := binary.LittleEndian.AppendUint64(nil, n)
	b = append(b, `{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`...)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), append(b, make([]byte, 8192)...), 0o600))
}

// verdicts WORD...: the last standard output is as many JSON lines, each valid
// under the schema, with these verdicts in this order.
func verdicts(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("verdicts cannot be negated")
	}
	schema, err := jsonschema.NewCompiler().Compile(ts.Getenv("SCHEMA"))
	ts.Check(err)
	lines := bytes.Split(bytes.TrimSpace([]byte(ts.ReadFile("stdout"))), []byte("\n"))
	if len(lines) != len(args) {
		ts.Fatalf("%d lines of output, want %d", len(lines), len(args))
	}
	for i, line := range lines {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		ts.Check(err)
		ts.Check(schema.Validate(value))
		var v api.Verdict
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		ts.Check(dec.Decode(&v))
		if string(v.Verdict) != args[i] {
			ts.Fatalf("line %d: %s, want %s\n%s", i+1, v.Verdict, args[i], line)
		}
	}
}

// exitcode CODE PROGRAM ARGS...: runs a program that must exit with CODE.
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		coded, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = coded.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
