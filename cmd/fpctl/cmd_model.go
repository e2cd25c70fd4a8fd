package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"weightwarden/fingerprint"
	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/file"
	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/internal/judge"
)

type addFlags struct {
	name, version, kind, owner, note, source, keyFile string
	signature, signedBy                               string
	tier, jobs                                        int
	regulated                                         bool
}

func modelAddCommand() cli.Command {
	return cli.Command{
		Name:    "model add",
		Args:    "FILE|DIR ...",
		Summary: "register a version of a model by the fingerprints of its files",
		Help: `The fingerprints are computed here; the weights never leave this machine. Shards that are named as
such (…-00001-of-00004…) become one artifact. Registering the same again changes nothing, so CI may
run it each time.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			f := &addFlags{}
			fs.StringVar(&f.name, "name", "", "`NAME` of the model")
			fs.StringVar(&f.version, "version", "", "`V`ersion of the model")
			fs.StringVar(&f.kind, "kind", api.KindProtected, "`KIND`: protected, public or dataset")
			fs.StringVar(&f.owner, "owner", "", "`WHO` answers for the model")
			fs.IntVar(&f.tier, "tier", 0, "value `TIER`: 1 most valuable to 4; 0 not rated")
			fs.BoolVar(&f.regulated, "regulated", false, "the model falls under a regulation (finance, health)")
			fs.StringVar(&f.note, "note", "", "`TEXT` about the model")
			fs.StringVar(&f.source, "source", "", "where the version comes from: run, commit or `URL`")
			fs.StringVar(&f.signature, "signature", "", "`FILE` of an OpenSSF Model Signing signature that every file must be in")
			fs.StringVar(&f.signedBy, "signed-by", "", "PEM `FILE` with the public key, or the certificate authority, of the signature")
			fs.StringVar(&f.keyFile, "key-file", "", "`FILE` with the organisation's fingerprint key (default: the public key)")
			fs.IntVar(&f.jobs, "jobs", 0, "`N` cores to use (default: all)")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) == 0 || f.name == "" || f.version == "" {
					return cli.Usagef("--name, --version and at least one file are wanted")
				}
				if (f.signature == "") != (f.signedBy == "") {
					return cli.Usagef("--signature and --signed-by belong together")
				}
				return f.run(ctx, env, args)
			}
		},
	}
}

// artifact is one file or one set of shards on its way to the server.
type artifact struct {
	name string
	fp   *fingerprint.Fingerprint
}

func (f *addFlags) run(ctx context.Context, env *cli.Env, operands []string) error {
	c, err := connect(env)
	if err != nil {
		return err
	}
	paths, err := findFiles(operands)
	if err != nil {
		return err
	}
	if f.signature != "" {
		signer, err := checkSignature(ctx, f.signature, f.signedBy, operands, paths)
		if err != nil {
			return err
		}
		f.source = strings.TrimSpace(f.source + " (signed: " + signer + ")")
	}
	artifacts, err := f.compute(ctx, env, paths)
	if err != nil {
		return err
	}
	model := api.PathModels + "/" + f.name
	desc := api.ModelDescription{Kind: f.kind, Owner: f.owner, Tier: f.tier, Regulated: f.regulated, Note: f.note}
	if err := keepDescription(ctx, c, model, &desc); err != nil {
		return err
	}
	if err := c.call(ctx, http.MethodPut, model, nil, desc, nil); err != nil {
		return err
	}
	for _, a := range artifacts {
		var answer api.ArtifactAnswer
		req := api.NewArtifact{Name: a.name, Source: f.source, Fingerprint: a.fp.Encode()}
		if err := c.call(ctx, http.MethodPost, model+"/versions/"+f.version+"/artifacts", nil, req, &answer); err != nil {
			return err
		}
		if err := f.report(env, a, answer); err != nil {
			return err
		}
	}
	return nil
}

// keepDescription fills what was not given from what the server has, so that CI
// does not wipe what a person entered.
func keepDescription(ctx context.Context, c *client, path string, d *api.ModelDescription) error {
	var m api.Model
	err := c.call(ctx, http.MethodGet, path, nil, nil, &m)
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if d.Owner == "" {
		d.Owner = m.Owner
	}
	if d.Tier == 0 {
		d.Tier = m.Tier
	}
	if d.Note == "" {
		d.Note = m.Note
	}
	d.Regulated = d.Regulated || m.Regulated
	return nil
}

func (f *addFlags) report(env *cli.Env, a artifact, answer api.ArtifactAnswer) error {
	if env.JSON {
		return cli.WriteJSON(env.Stdout, struct {
			SchemaVersion int    `json:"schema_version"`
			Model         string `json:"model"`
			Version       string `json:"version"`
			Artifact      string `json:"artifact"`
			Tensors       int    `json:"tensors"`
			Parameters    int64  `json:"parameters"`
			api.ArtifactAnswer
		}{api.SchemaVersion, f.name, f.version, a.name, len(a.fp.Tensors), a.fp.Parameters(), answer})
	}
	word := "registered"
	if !answer.Added {
		word = "already registered:"
	}
	_, err := fmt.Fprintf(env.Stdout, "%s %s %s: %s, %s, %s parameters (snapshot %d)\n", word, f.name, f.version, cli.PrintableLine(a.name),
		cli.Plural(len(a.fp.Tensors), "tensor", "tensors"), cli.Count(a.fp.Parameters()), answer.Snapshot)
	return err
}

// findFiles lists the files of operands; folders are searched.
func findFiles(operands []string) ([]string, error) {
	var paths []string
	for _, root := range operands {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.Type().IsRegular() || path == root && !d.IsDir() {
				if info, err := d.Info(); path == root || err == nil && info.Size() >= minSize {
					paths = append(paths, path)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(paths) == 0 {
		return nil, errors.New("no file of 1 MiB or more was found")
	}
	return paths, nil
}

// minSize leaves out tokenizers and configurations that lie beside the weights in
// a folder. A file that is named is registered whatever its size.
const minSize = 1 << 20

func (f *addFlags) compute(ctx context.Context, env *cli.Env, paths []string) ([]artifact, error) {
	opt := fingerprint.Options{Register: true, Jobs: f.jobs}
	if f.keyFile != "" {
		key, err := fingerprint.ReadKey(f.keyFile)
		if err != nil {
			return nil, fmt.Errorf("key file %q: %w", f.keyFile, err)
		}
		opt.Key = key
	}
	progress := cli.NewProgress(env)
	defer progress.Clear()
	opt.Progress = progress.Add
	var out []artifact
	sets := map[string]int{}
	for _, path := range paths {
		fp, err := compute(ctx, path, opt, progress.Start)
		if err != nil {
			return nil, fmt.Errorf("%s: %w (nothing was registered)", path, err)
		}
		set := shardSet(path)
		i, known := sets[set]
		if set == "" || !known {
			name := filepath.Base(path)
			if set != "" {
				sets[set], name = len(out), filepath.Base(set)
			}
			out = append(out, artifact{name, fp})
			continue
		}
		if out[i].fp, err = judge.Join(fp.Format, []*fingerprint.Fingerprint{out[i].fp, fp}); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return out, nil
}

// joined makes one artifact of the fingerprints of a file, or of a set's shards.
func joined(name string, parts []*fingerprint.Fingerprint) (artifact, error) {
	if len(parts) == 1 {
		return artifact{name, parts[0]}, nil
	}
	fp, err := judge.Join(parts[0].Format, parts)
	return artifact{name, fp}, err
}

// compute reads a file into its fingerprint. begin is told of each as it begins.
func compute(ctx context.Context, path string, opt fingerprint.Options, begin func(label string, bytes int64)) (*fingerprint.Fingerprint, error) {
	if info, err := os.Stat(path); err != nil || info.IsDir() || info.Size() == 0 {
		return nil, errors.Join(err, errors.New("not a file with anything in it"))
	}
	src, err := file.Open(path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	model, err := all.Decoders().Decode(ctx, src, formats.Limits{})
	if err != nil && !errors.Is(err, formats.ErrNotRecognized) {
		return nil, err
	}
	begin(path, src.Size())
	return fingerprint.Compute(ctx, src, model, opt)
}

// shardSet returns what the names of a set's shards have in common, "" for a file
// that is not named like one.
func shardSet(path string) string {
	m := regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})(\.[A-Za-z0-9.]+)$`).FindStringSubmatch(filepath.Base(path))
	if m == nil {
		return ""
	}
	return filepath.Join(filepath.Dir(path), m[1]+"-*-of-"+m[3]+m[4])
}
