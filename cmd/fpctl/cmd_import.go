package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeebo/blake3"

	"weightwarden/fingerprint"
	"weightwarden/internal/api"
	"weightwarden/internal/cli"
)

func modelImportCommand() cli.Command {
	return cli.Command{
		Name:    "model import",
		Args:    "DIR|LIST",
		Summary: "register many models: those of a folder, or of a list",
		Help: `DIR: each file or shard set in it, and each folder below with weights, is a model; a Hugging Face cache
gives org--name and the revision. LIST: a JSON object a line, or CSV with a heading, with path, name,
version and as you like kind, owner, tier, regulated, note, source; - is standard input.

A file that is registered already, by BLAKE3, is not read into a fingerprint again: what was interrupted
goes on where it was when it is started again. What fails is told and the rest goes on. All of it
becomes one snapshot.

exit codes: 0 everything is registered, 2 something is not`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			im := &importer{}
			fs.StringVar(&im.fill.Kind, "kind", api.KindPublic, "`KIND` where the list has none: protected, public or dataset")
			fs.StringVar(&im.fill.Version, "version", "1", "`V`ersion where neither list nor cache says it")
			fs.StringVar(&im.fill.Owner, "owner", "", "`WHO` answers for the models, where the list does not say")
			fs.StringVar(&im.fill.Source, "source", "", "where the versions come from, where the list does not say")
			fs.BoolVar(&im.dryRun, "dry-run", false, "tell what there is to do and do nothing")
			fs.StringVar(&im.keyFile, "key-file", "", "`FILE` with the organisation's fingerprint key (default: the public key)")
			fs.IntVar(&im.jobs, "jobs", 0, "`N` cores to use (default: all)")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) != 1 {
					return cli.Usagef("one DIR or LIST is wanted")
				}
				return im.run(ctx, env, args[0])
			}
		},
	}
}

// importer registers models one after the other.
type importer struct {
	fill    wanted // what entries do not say
	dryRun  bool
	keyFile string
	jobs    int

	env      *cli.Env
	client   *client
	opt      fingerprint.Options
	progress *cli.Progress
	total    imported
}

// imported is what became of one model, or of all of them.
type imported struct {
	SchemaVersion int    `json:"schema_version"`
	Status        string `json:"status"` // registered, present, failed, planned; done for the sum
	Model         string `json:"model,omitempty"`
	Version       string `json:"version,omitempty"`
	Path          string `json:"path,omitempty"`
	Files         int    `json:"files"`
	Bytes         int64  `json:"bytes"`
	Error         string `json:"error,omitempty"`

	Registered int   `json:"registered"` // artifacts, new
	Present    int   `json:"present"`    // artifacts that were there
	Failed     int   `json:"failed"`     // models
	Models     int   `json:"models"`
	Snapshot   int64 `json:"snapshot,omitempty"`
}

// pack is one model with its files, found before the work begins.
type pack struct {
	wanted
	sets  [][]string // each one file, or the shards of a set
	bytes int64
	err   error
}

func (im *importer) run(ctx context.Context, env *cli.Env, operand string) error {
	list, err := im.list(env, operand)
	if err != nil {
		return err
	}
	if im.client, err = connect(env); err != nil {
		return err
	}
	im.env, im.progress = env, cli.NewProgress(env)
	defer im.progress.Clear()
	im.opt = fingerprint.Options{Register: true, Jobs: im.jobs, Progress: im.progress.Add}
	if im.keyFile != "" {
		if im.opt.Key, err = fingerprint.ReadKey(im.keyFile); err != nil {
			return fmt.Errorf("key file %q: %w", im.keyFile, err)
		}
	}
	packs, bytes := openPacks(list)
	im.progress.Start("import", bytes)
	for i, p := range packs {
		im.progress.Label(fmt.Sprintf("%d/%d %s", i+1, len(packs), p.Name))
		if err := im.one(ctx, p); err != nil {
			return im.stopped(err, i, len(packs))
		}
	}
	return im.finish(ctx)
}

// stopped says how far an import came that cannot go on.
func (im *importer) stopped(err error, done, of int) error {
	return cli.Hint(fmt.Errorf("stopped after %d of %d models: %w", done, of, err), "start it again: what is registered is not done twice; the server publishes what it has within minutes")
}

func (im *importer) list(env *cli.Env, operand string) ([]wanted, error) {
	if operand == "-" {
		return readList(env.Stdin, false, ".", im.fill)
	}
	info, err := os.Stat(operand)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return findModels(operand, im.fill)
	}
	f, err := os.Open(operand)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := readList(f, strings.EqualFold(filepath.Ext(operand), ".csv"), filepath.Dir(operand), im.fill)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operand, err)
	}
	return list, nil
}

// openPacks finds the files of models. One that has none is told when its turn comes.
func openPacks(list []wanted) (packs []*pack, bytes int64) {
	for _, w := range list {
		p := &pack{wanted: w}
		if real, err := filepath.EvalSymlinks(w.Path); err == nil && isDir(real) {
			p.Path = real // a walk does not follow it; links to files keep their names
		}
		p.sets, p.bytes, p.err = packFiles(p.Path)
		bytes += p.bytes
		packs = append(packs, p)
	}
	return packs, bytes
}

// packFiles finds the files of a file, a shard set ("x-*-of-00004.safetensors") or a
// folder, through the links of a cache.
func packFiles(path string) (sets [][]string, bytes int64, err error) {
	find := filesBelow
	if strings.Contains(filepath.Base(path), "-*-of-") {
		find = shardsOf
	}
	paths, err := find(path)
	if err != nil {
		return nil, 0, err
	}
	place := map[string]int{}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, 0, err
		}
		bytes += info.Size()
		set := shardSet(p)
		if i, ok := place[set]; ok && set != "" {
			sets[i] = append(sets[i], p)
			continue
		}
		place[set] = len(sets)
		sets = append(sets, []string{p})
	}
	if len(sets) == 0 {
		return nil, 0, errors.New("no file of 1 MiB or more was found")
	}
	return sets, bytes, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func shardsOf(set string) ([]string, error) {
	names, err := os.ReadDir(filepath.Dir(set))
	var paths []string
	for _, e := range names {
		if path := filepath.Join(filepath.Dir(set), e.Name()); shardSet(path) == filepath.Clean(set) {
			paths = append(paths, path)
		}
	}
	return paths, err
}

func filesBelow(root string) ([]string, error) {
	var paths []string
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if info.Mode()&os.ModeSymlink != 0 {
			if info, err = os.Stat(path); err != nil {
				return err
			}
		}
		if info.Mode().IsRegular() && (path == root || info.Size() >= minSize) {
			paths = append(paths, path)
		}
		return nil
	})
	return paths, err
}

// one registers a model. Its error ends the import; what is wrong with the model alone
// is told and counted.
func (im *importer) one(ctx context.Context, p *pack) error {
	done := imported{SchemaVersion: api.SchemaVersion, Model: p.Name, Version: p.Version, Path: p.Path, Files: files(p.sets), Bytes: p.bytes, Models: 1}
	err := p.err
	if err == nil {
		err = im.register(ctx, p, &done)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && fatal(err) {
		return err
	}
	switch {
	case err != nil:
		done.Status, done.Error, done.Failed = "failed", err.Error(), 1
	case im.dryRun:
		done.Status = "planned"
	case done.Registered > 0:
		done.Status = "registered"
	default:
		done.Status = "present"
	}
	im.total.Models++
	im.total.Files += done.Files
	im.total.Bytes += done.Bytes
	im.total.Registered += done.Registered
	im.total.Present += done.Present
	im.total.Failed += done.Failed
	return im.report(done)
}

func files(sets [][]string) (n int) {
	for _, s := range sets {
		n += len(s)
	}
	return n
}

// fatal reports whether an error would meet every other model too: a server that is
// not there, or a token that may not register.
func fatal(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		return status.status == http.StatusUnauthorized || status.status == http.StatusTooManyRequests || status.status >= 500
	}
	var transport *url.Error
	return errors.As(err, &transport)
}

func (im *importer) register(ctx context.Context, p *pack, done *imported) error {
	path := api.PathModels + "/" + url.PathEscape(p.Name)
	known, err := im.known(ctx, path, p.Version)
	if err != nil {
		return err
	}
	desc := api.ModelDescription{Kind: p.Kind, Owner: p.Owner, Tier: p.Tier, Regulated: p.Regulated, Note: p.Note}
	for _, set := range p.sets {
		digest, err := im.present(ctx, set, known)
		if err != nil {
			return err
		}
		if digest != "" || im.dryRun {
			im.progress.Skip(setBytes(set))
		}
		if digest != "" {
			done.Present++
			continue
		}
		if im.dryRun {
			done.Registered++
			continue
		}
		if err := im.add(ctx, p, set, path, &desc, done); err != nil {
			return err
		}
	}
	return nil
}

// known are the artifacts of a version at the server.
func (im *importer) known(ctx context.Context, path, version string) ([]api.Artifact, error) {
	var m api.Model
	err := im.client.call(ctx, http.MethodGet, path, nil, nil, &m)
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusNotFound {
		return nil, nil
	}
	for _, v := range m.Versions {
		if v.Version == version {
			return v.Artifacts, err
		}
	}
	return nil, err
}

// present returns the digest of a set that is registered, "" if it is not. Files are
// read only where their size is that of a registered one.
func (im *importer) present(ctx context.Context, set []string, known []api.Artifact) (string, error) {
	size := setBytes(set)
	if !slices.ContainsFunc(known, func(a api.Artifact) bool { return a.Size == size && a.BLAKE3 != "" }) {
		return "", nil
	}
	digest, err := setDigest(ctx, set)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(known, func(a api.Artifact) bool { return a.BLAKE3 == digest }) {
		return digest, nil
	}
	return "", nil
}

func setBytes(set []string) (n int64) {
	for _, path := range set {
		if info, err := os.Stat(path); err == nil { // who reads the file tells the error
			n += info.Size()
		}
	}
	return n
}

// setDigest is BLAKE3 of a file; of shards BLAKE3 over their digests in order.
func setDigest(ctx context.Context, set []string) (string, error) {
	all := blake3.New()
	var sum []byte
	for _, path := range set {
		var err error
		if sum, err = blake3File(ctx, path); err != nil {
			return "", err
		}
		_, _ = all.Write(sum) // never fails
	}
	if len(set) > 1 {
		sum = all.Sum(nil)
	}
	return hex.EncodeToString(sum), nil
}

func blake3File(ctx context.Context, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := blake3.New()
	for {
		if _, err = io.CopyN(h, f, 64<<20); err != nil || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != io.EOF {
		return nil, err
	}
	return h.Sum(nil), nil
}

// add computes and registers one artifact. The model itself is put in first when there
// is something to put in.
func (im *importer) add(ctx context.Context, p *pack, set []string, path string, desc *api.ModelDescription, done *imported) error {
	a, err := im.artifact(ctx, p, set)
	if err != nil {
		return err
	}
	digest, err := setDigest(ctx, set)
	if err != nil {
		return err
	}
	if done.Registered+done.Present == 0 {
		if err := keepDescription(ctx, im.client, path, desc); err != nil {
			return err
		}
		if err := im.client.call(ctx, http.MethodPut, path, nil, desc, nil); err != nil {
			return err
		}
	}
	var answer api.ArtifactAnswer
	req := api.NewArtifact{Name: a.name, Source: p.Source, Fingerprint: a.fp.Encode(), BLAKE3: digest}
	err = im.client.call(ctx, http.MethodPost, path+"/versions/"+url.PathEscape(p.Version)+"/artifacts", url.Values{"publish": {"later"}}, req, &answer)
	if err != nil {
		return err
	}
	if answer.Added {
		done.Registered++
	} else {
		done.Present++
	}
	return nil
}

func (im *importer) artifact(ctx context.Context, p *pack, set []string) (artifact, error) {
	var parts []*fingerprint.Fingerprint
	for _, path := range set {
		fp, err := compute(ctx, path, im.opt, func(string, int64) {})
		if err != nil {
			return artifact{}, fmt.Errorf("%s: %w", path, err)
		}
		parts = append(parts, fp)
	}
	name := set[0]
	if s := shardSet(name); s != "" {
		name = s
	}
	return joined(relativeName(p.Path, name), parts)
}

// relativeName names an artifact by where it lies within its model's folder.
func relativeName(root, path string) string {
	if rel, err := filepath.Rel(root, path); err == nil && rel != "." && !strings.HasPrefix(rel, "..") {
		return filepath.ToSlash(rel)
	}
	return filepath.Base(path)
}

func (im *importer) report(done imported) error {
	im.progress.Clear()
	if im.env.JSON {
		return cli.WriteJSON(im.env.Stdout, done)
	}
	word := done.Status
	if im.dryRun && done.Error == "" {
		word = fmt.Sprintf("%d to do, %d there:", done.Registered, done.Present)
	}
	text := fmt.Sprintf("%s %s %s: %s, %s", word, done.Model, done.Version, cli.Plural(done.Files, "file", "files"), cli.Bytes(done.Bytes))
	if done.Error != "" {
		text = fmt.Sprintf("failed %s %s: %s", done.Model, done.Version, done.Error)
	}
	_, err := fmt.Fprintln(im.env.Stdout, cli.PrintableLine(text))
	return err
}

// finish publishes what was registered and tells the sum.
func (im *importer) finish(ctx context.Context) error {
	sum := im.total
	sum.SchemaVersion, sum.Status = api.SchemaVersion, "done"
	if sum.Failed > 0 {
		im.env.Exit = cli.ExitError
	}
	note := ""
	if sum.Registered > 0 && !im.dryRun {
		var snap api.SnapshotInfo
		err := im.client.call(ctx, http.MethodPost, api.PathSnapshots, nil, nil, &snap)
		var status *statusError
		switch {
		case errors.As(err, &status) && status.status == http.StatusForbidden: // a token that is bound to models
			note = "; the server publishes them within minutes"
		case err != nil:
			return im.stopped(err, sum.Models, sum.Models)
		default:
			sum.Snapshot, note = snap.Epoch, fmt.Sprintf("; snapshot %d has them", snap.Epoch)
		}
	}
	im.progress.Clear()
	if im.env.JSON {
		return cli.WriteJSON(im.env.Stdout, sum)
	}
	word := "registered"
	if im.dryRun {
		word = "to register"
	}
	_, err := fmt.Fprintf(im.env.Stdout, "%s, %s: %s %s, %d there already, %s failed%s\n", cli.Plural(sum.Models, "model", "models"), cli.Bytes(sum.Bytes),
		cli.Plural(sum.Registered, "artifact", "artifacts"), word, sum.Present, cli.Plural(sum.Failed, "model", "models"), note)
	return err
}
