package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"weightwarden/formats"
	"weightwarden/formats/all"
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
			"shards":   shards,
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

// shards FILE PREFIX N: splits a safetensors file into N shards PREFIX-0000I-of-0000N
// and writes their list PREFIX.safetensors.index.json.
func shards(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: shards FILE PREFIX N")
	}
	src, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	model, err := all.Decoders().Decode(context.Background(), formats.BytesSource(src), formats.Limits{})
	ts.Check(err)
	list := map[string]string{}
	for i := range n {
		from, to := i*len(model.Tensors)/n, (i+1)*len(model.Tensors)/n
		header, body := map[string]any{}, []byte{}
		name := fmt.Sprintf("%s-%05d-of-%05d.safetensors", args[1], i+1, n)
		for _, t := range model.Tensors[from:to] {
			at := len(body)
			body = append(body, src[t.Data.Offset:t.Data.Offset+t.Data.Length]...)
			header[t.Name] = map[string]any{"dtype": t.DType.String(), "shape": t.Shape, "data_offsets": []int{at, len(body)}}
			list[t.Name] = filepath.Base(name)
		}
		text, err := json.Marshal(header)
		ts.Check(err)
		out := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
		ts.Check(os.WriteFile(ts.MkAbs(name), append(append(out, text...), body...), 0o600))
	}
	text, err := json.Marshal(map[string]any{"metadata": map[string]any{}, "weight_map": list})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]+".safetensors.index.json"), text, 0o600))
}
