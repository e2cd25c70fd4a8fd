package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/archive/dir"
	"weightwarden/formats/file"
	"weightwarden/internal/api"
	"weightwarden/internal/cli"
)

// inspection is what fpcheck inspect --json prints of one file.
type inspection struct {
	SchemaVersion int           `json:"schema_version"`
	Path          string        `json:"path"`
	Size          int64         `json:"size"`
	Format        string        `json:"format"`
	Variant       string        `json:"variant,omitempty"`
	Totals        totals        `json:"totals"`
	Tensors       []tensorInfo  `json:"tensors"`
	Metadata      []keyValue    `json:"metadata"`
	Findings      []api.Finding `json:"findings"`
}

type totals struct {
	Tensors    int          `json:"tensors"`
	Parameters int64        `json:"parameters"`
	Bytes      int64        `json:"bytes"`
	DTypes     []dtypeTotal `json:"dtypes"`
}

type dtypeTotal struct {
	DType      string `json:"dtype"`
	Tensors    int    `json:"tensors"`
	Parameters int64  `json:"parameters"`
	Bytes      int64  `json:"bytes"`
}

type tensorInfo struct {
	Name       string  `json:"name"`
	Member     string  `json:"member,omitempty"`
	DType      string  `json:"dtype"`
	Shape      []int64 `json:"shape"`
	Parameters int64   `json:"parameters"`
	Bytes      int64   `json:"bytes"`
	Offset     int64   `json:"offset"` // in the file or member that holds it; -1 out of reach
	Strides    []int64 `json:"strides,omitempty"`
	BigEndian  bool    `json:"big_endian,omitempty"`
}

type keyValue struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func inspectCommand() cli.Command {
	return cli.Command{
		Name:    "inspect",
		Args:    "FILE|FOLDER ...",
		Summary: "show what is in model files: format, tensors, metadata, findings",
		Help: `The files of a folder are one model: shards with their index, an .mlpackage, a checkpoint.
Nothing of the file is executed or loaded, and no more of it is read than its headers.
Names come from the file and are shown with control characters escaped.

exit codes: 0 read in whole, 2 error, or parts that could not be read`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			everything := fs.Bool("all", false, "show every tensor, not only the first 500")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) == 0 {
					return cli.Usagef("which file?")
				}
				for _, path := range args {
					if err := inspect(ctx, env, path, *everything); err != nil {
						if ctx.Err() != nil {
							return ctx.Err()
						}
						cli.PrintError(env, path, err, hintOf(err))
						env.Exit = cli.ExitError
					}
				}
				return nil
			}
		},
	}
}

func hintOf(err error) string {
	var h *cli.Hinted
	if errors.As(err, &h) {
		return h.Hint
	}
	return ""
}

func inspect(ctx context.Context, env *cli.Env, path string, everything bool) error {
	model, size, done, err := decodeModel(ctx, path)
	if done != nil {
		defer done()
	}
	if err != nil {
		if errors.Is(err, formats.ErrNotRecognized) {
			return errors.New("no decoder knows this format")
		}
		return err
	}
	shown := tensorsShown
	switch {
	case env.JSON:
		shown = 0 // they are written one by one
	case everything:
		shown = len(model.Tensors)
	}
	out := describe(path, size, model, shown)
	for _, f := range out.Findings {
		if f.Severity == string(formats.Unread) {
			env.Exit = cli.ExitError
		}
	}
	if env.JSON {
		return out.writeJSON(env.Stdout, model.Tensors)
	}
	out.print(env)
	return nil
}

// writeJSON writes what cli.WriteJSON would with these tensors, without holding a million of them as text.
func (in *inspection) writeJSON(w io.Writer, tensors []formats.Tensor) error {
	var frame bytes.Buffer
	if err := cli.WriteJSON(&frame, in); err != nil {
		return err
	}
	const none = `"tensors":[]` // in no string: quotes in strings are escaped
	before, after, ok := bytes.Cut(frame.Bytes(), []byte(none))
	if !ok {
		return errors.New("the description has no list of tensors")
	}
	out := bufio.NewWriter(w)
	out.Write(before) // errors stay in the writer until Flush
	out.WriteString(strings.TrimSuffix(none, "]"))
	var one bytes.Buffer
	for i := range tensors {
		one.Reset()
		if err := cli.WriteJSON(&one, describeTensor(&tensors[i])); err != nil {
			return err
		}
		if i > 0 {
			out.WriteByte(',')
		}
		if _, err := out.Write(bytes.TrimSuffix(one.Bytes(), []byte("\n"))); err != nil {
			return err // nobody reads any more
		}
	}
	out.WriteByte(']')
	out.Write(after)
	return out.Flush()
}

// decodeModel decodes a file, or all files of a folder together; size is that of the
// files, and done closes them.
func decodeModel(ctx context.Context, path string) (m *formats.Model, size int64, done func() error, err error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		m, size, err = decodeFolder(ctx, path)
		return m, size, nil, err
	}
	src, err := openModel(path)
	if err != nil {
		return nil, 0, nil, err
	}
	m, err = all.Decoders().Decode(ctx, src, formats.Limits{})
	return m, src.Size(), src.Close, err
}

// decodeFolder decodes a folder as one model: shards with their index, a package
// of Core ML, a checkpoint of many files.
func decodeFolder(ctx context.Context, path string) (*formats.Model, int64, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, 0, plainError(err)
	}
	members, err := dir.Open(ctx, root, formats.Limits{})
	if err := errors.Join(err, root.Close()); err != nil {
		return nil, 0, err
	}
	size := int64(0)
	for _, f := range members.Files {
		size += f.Source.Size()
	}
	m, err := all.Decoders().DecodeMembers(ctx, dir.ID, members, formats.Limits{})
	if err == nil && len(m.Tensors) == 0 && len(m.Findings) == 0 {
		err = fmt.Errorf("%w: no file of the folder", formats.ErrNotRecognized)
	}
	return m, size, err
}

// openModel opens a file, with errors that speak to people.
func openModel(path string) (*file.File, error) {
	src, err := file.Open(path)
	if err != nil {
		return nil, notThere(path, plainError(err))
	}
	if src.Size() == 0 {
		return nil, errors.Join(errors.New("the file is empty"), src.Close())
	}
	return src, nil
}

// describe tells of a model, with the first tensors of it one by one.
func describe(path string, size int64, m *formats.Model, shown int) *inspection {
	out := &inspection{SchemaVersion: api.SchemaVersion, Path: path, Size: size, Format: string(m.Format), Variant: m.Variant,
		Tensors: []tensorInfo{}, Metadata: []keyValue{}, Findings: []api.Finding{}}
	out.Totals.DTypes = []dtypeTotal{}
	for i := range m.Tensors {
		t := describeTensor(&m.Tensors[i])
		if i < shown {
			out.Tensors = append(out.Tensors, t)
		}
		out.Totals.add(t)
	}
	slices.SortStableFunc(out.Totals.DTypes, func(a, b dtypeTotal) int {
		return strings.Compare(a.DType, b.DType)
	})
	for _, kv := range m.Metadata {
		out.Metadata = append(out.Metadata, keyValue{kv.Key, kv.Value})
	}
	for _, f := range m.Findings {
		out.Findings = append(out.Findings, api.Finding{Code: f.Code, Severity: string(f.Severity), Text: f.Text, Offset: f.Offset})
	}
	return out
}

func describeTensor(t *formats.Tensor) tensorInfo {
	info := tensorInfo{Name: t.Name, Member: t.Member, DType: t.DType.String(), Shape: t.Shape, Parameters: t.Elements(),
		Offset: t.Data.Offset, Strides: t.Data.Strides, BigEndian: t.Data.BigEndian}
	if info.Shape == nil {
		info.Shape = []int64{}
	}
	if n, ok := t.Bytes(); ok {
		info.Bytes = n
	} else {
		info.Bytes = t.Data.Length
	}
	if t.Data.Source == nil {
		info.Offset = -1
	}
	return info
}

func (t *totals) add(info tensorInfo) {
	t.Tensors++
	t.Parameters += info.Parameters
	t.Bytes += info.Bytes
	i := slices.IndexFunc(t.DTypes, func(d dtypeTotal) bool { return d.DType == info.DType })
	if i < 0 {
		i = len(t.DTypes)
		t.DTypes = append(t.DTypes, dtypeTotal{DType: info.DType})
	}
	d := &t.DTypes[i]
	d.Tensors++
	d.Parameters += info.Parameters
	d.Bytes += info.Bytes
}

func (in *inspection) print(env *cli.Env) {
	w, s := env.Stdout, cli.Style{Colour: cli.ColourFor(env, env.Stdout)}
	format := in.Format
	if in.Variant != "" {
		format += " (" + in.Variant + ")"
	}
	fmt.Fprintf(w, "%s\n  %s, %s: %s, %s in %s\n", s.Bold(cli.PrintableLine(in.Path)), cli.PrintableLine(format),
		cli.Bytes(in.Size), cli.Plural(in.Totals.Tensors, "tensor", "tensors"), parameters(in.Totals.Parameters), cli.Bytes(in.Totals.Bytes))
	if len(in.Tensors) > 0 {
		fmt.Fprintln(w)
		in.tensorTable().Print(w, s)
		if n := in.Totals.Tensors - len(in.Tensors); n > 0 {
			fmt.Fprintf(w, "  … and %s more (--all shows them)\n", cli.Count(int64(n)))
		}
	}
	if len(in.Totals.DTypes) > 1 {
		fmt.Fprintln(w)
		in.dtypeTable().Print(w, s)
	}
	if len(in.Metadata) > 0 {
		fmt.Fprintln(w)
		t := &cli.Table{}
		t.Row("METADATA", "VALUE")
		for _, kv := range in.Metadata {
			t.Row(kv.Key, kv.Value)
		}
		t.Print(w, s)
	}
	if len(in.Findings) > 0 {
		fmt.Fprintln(w)
		printFindings(env, in.Findings, s, len(in.Findings))
	}
}

// tensorsShown is how many tensors a person is shown unless asked for all.
const tensorsShown = 500

func (in *inspection) tensorTable() *cli.Table {
	t := &cli.Table{Right: []bool{false, false, false, true, true}}
	t.Row("TENSOR", "DTYPE", "SHAPE", "BYTES", "OFFSET")
	for _, x := range in.Tensors {
		name := x.Name
		if x.Member != "" {
			name = x.Member + "!" + x.Name
		}
		offset := strconv.FormatInt(x.Offset, 10)
		if x.Offset < 0 {
			offset = "not here"
		}
		t.Row(name, x.DType, shape(x.Shape), cli.Count(x.Bytes), offset)
	}
	return t
}

func (in *inspection) dtypeTable() *cli.Table {
	t := &cli.Table{Right: []bool{false, true, true, true}}
	t.Row("DTYPE", "TENSORS", "PARAMETERS", "BYTES")
	for _, d := range in.Totals.DTypes {
		t.Row(d.DType, cli.Count(int64(d.Tensors)), cli.Count(d.Parameters), cli.Count(d.Bytes))
	}
	return t
}

func shape(dims []int64) string {
	if len(dims) == 0 {
		return "scalar"
	}
	parts := make([]string, len(dims))
	for i, d := range dims {
		parts[i] = strconv.FormatInt(d, 10)
	}
	return strings.Join(parts, " × ")
}
