package pytorch

import (
	"bytes"
	"context"
	"path"
	"slices"
	"strconv"
	"strings"

	"weightwarden/formats"
	"weightwarden/formats/archive/zip"
	"weightwarden/formats/pytorch/pickle"
)

const (
	// smallMember is what a member without a tensor may be before it is looked
	// into as a file of its own.
	smallMember = 4 << 10
	maxPickles  = 256
)

// zipFile is a PyTorch zip while it is read.
type zipFile struct {
	src     formats.Source
	archive *zip.Archive
	byName  map[record]int // the first of equal names wins, as in PyTorch
	used    []bool         // per entry
	w       *walker
}

// record is a name, case folded as PyTorch looks it up, in one of the archives
// of a file.
type record struct {
	part int
	name string
}

func decodeZip(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	a, err := zip.Read(ctx, src, limits)
	if err != nil {
		return nil, err
	}
	z := &zipFile{src: src, archive: a, byName: make(map[record]int, len(a.Entries)), used: make([]bool, len(a.Entries))}
	var pickles []int
	for i := range a.Entries {
		name := fold(a.Entries[i].Name)
		key := record{a.Entries[i].Part, name}
		if _, have := z.byName[key]; !have {
			z.byName[key] = i
		}
		if strings.HasSuffix(name, ".pkl") {
			pickles = append(pickles, i)
		}
	}
	slices.SortStableFunc(pickles, func(x, y int) int { return a.Entries[y].Part - a.Entries[x].Part }) // file order
	exported := z.exportedConfigs()
	if !z.holdsModel(pickles) && len(exported) == 0 {
		return nil, formats.Errorf(id, "data.pkl", -1, formats.ErrNotRecognized, "no pickle in the archive")
	}
	m := &formats.Model{Format: id, Variant: variantZip}
	for _, f := range a.Findings {
		m.AddFinding(limits.Findings, f)
	}
	z.w = newWalker(ctx, m, limits)
	names := z.shardNames(ctx)
	for _, i := range exported {
		z.exported(ctx, i)
	}
	for n, i := range pickles {
		if n >= maxPickles && len(names) == 0 && n >= 2*len(a.Starts) {
			z.w.note("pytorch.pickles", formats.Unread, -1, "only the first %d of %d pickles were read", maxPickles, len(pickles))
			break
		}
		if err := z.pickle(ctx, i, names); err != nil {
			return nil, err
		}
	}
	z.rest(ctx)
	return m, nil
}

// holdsModel reports whether one of the pickles is what torch.load or
// torch.jit.load would open.
func (z *zipFile) holdsModel(pickles []int) bool {
	for _, i := range pickles {
		switch path.Base(fold(z.archive.Entries[i].Name)) {
		case "data.pkl", "constants.pkl", "bytecode.pkl", "model.pkl":
			return true
		}
	}
	return false
}

func fold(name string) string { return strings.ToLower(strings.ReplaceAll(name, "\\", "/")) }

// open returns the bytes of entry i: the file itself where they lie in it as
// they are.
func (z *zipFile) open(ctx context.Context, i int) (src formats.Source, offset, length int64, err error) {
	e := &z.archive.Entries[i]
	if e.Contiguous() {
		return z.src, e.Data, e.Packed, nil
	}
	m, err := z.archive.Source(ctx, e)
	if err != nil {
		return nil, 0, 0, err
	}
	return m, 0, m.Size(), nil
}

// pickle reads one pickle; its storages lie in the folder of its name.
func (z *zipFile) pickle(ctx context.Context, i int, names map[int64]string) error {
	e := &z.archive.Entries[i]
	z.used[i] = true
	src, off, n, err := z.open(ctx, i)
	if err == nil {
		src, err = formats.Section(src, off, n)
	}
	var res *pickle.Result
	if err == nil {
		res, err = pickle.Run(ctx, src, 0, z.w.limits)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		z.w.note("pytorch.pickle", formats.Unread, e.Header, "pickle %.200q: %v", e.Name, err)
		return nil
	}
	if off+res.End < off+n && res.Broken == nil {
		z.w.note("pickle.trailing", formats.Warning, off+res.End, "%d bytes follow the end of pickle %.200q", n-res.End, e.Name)
	}
	folder := strings.TrimSuffix(fold(e.Name), ".pkl") + "/"
	big := z.text(ctx, e.Part, path.Dir(fold(e.Name)), "byteorder") == "big"
	z.w.src = src
	z.w.resolve = func(p *pickle.Persistent) (*storage, error) { return z.storage(ctx, e.Part, folder, big, p) }
	var root *trail
	if len(z.archive.Starts) > 1 {
		start := z.archive.Starts[e.Part]
		if name := names[start]; name != "" {
			root = root.child(name)
		} else {
			root = root.child("at" + strconv.FormatInt(start, 10))
		}
	} else if name := names[0]; name != "" {
		root = root.child(name)
	}
	if base := strings.TrimSuffix(path.Base(strings.ReplaceAll(e.Name, "\\", "/")), ".pkl"); base != "data" {
		root = root.child(base)
	}
	return z.w.pickle(res, root)
}

// storage finds the record of a persistent id.
func (z *zipFile) storage(ctx context.Context, part int, folder string, big bool, p *pickle.Persistent) (*storage, error) {
	s, ok := parseStorageID(p)
	if !ok {
		return nil, formats.Errorf(id, "persistent id", p.Offset, formats.ErrUnsupported, "no storage")
	}
	if !s.typed {
		z.w.note("pytorch.dtype", formats.Unread, p.Offset, "storage %.200q is of an unknown class", s.key)
	}
	i, ok := z.byName[record{part, folder + fold(s.key)}]
	if !ok { // torch.package keeps all storages in one place
		top, _, _ := strings.Cut(folder, "/")
		i, ok = z.byName[record{part, top + "/.data/" + fold(s.key) + ".storage"}]
	}
	if !ok {
		return nil, formats.Errorf(id, "record", p.Offset, formats.ErrMalformed, "the archive has no record %.200q", folder+s.key)
	}
	z.used[i] = true
	src, off, n, err := z.open(ctx, i)
	if err != nil {
		return nil, err
	}
	if want, ok := s.dtype.Bytes(s.numel); ok && want != n {
		z.w.note("pytorch.record", formats.Warning, off, "record %.200q has %d bytes, its storage claims %d", s.key, n, want)
	}
	return &storage{src: src, offset: off, length: n, dtype: s.dtype, numel: s.numel, bigEndian: big, key: s.key}, nil
}

// text reads a short record.
func (z *zipFile) text(ctx context.Context, part int, folder, name string) string {
	if folder != "." {
		name = folder + "/" + name
	}
	i, ok := z.byName[record{part, name}]
	if !ok {
		return ""
	}
	z.used[i] = true
	src, off, n, err := z.open(ctx, i)
	if err != nil || n > 256 {
		return ""
	}
	b := make([]byte, n)
	if formats.ReadFull(src, b, off) != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// rest lists records that no tensor uses, and says whether the archive holds
// more than a PyTorch file does.
func (z *zipFile) rest(ctx context.Context) {
	for i := range z.archive.Entries {
		e := &z.archive.Entries[i]
		name := fold(e.Name)
		dir, base := path.Split(name)
		switch base {
		case "version", "byteorder", ".format_version", ".storage_alignment", "serialization_id":
			if v := z.text(ctx, e.Part, strings.TrimSuffix(dir, "/"), base); v != "" && e.Part == 0 && z.byName[record{0, name}] == i {
				z.w.keyValue(base, v)
			}
		}
		if z.used[i] || e.Dir() || e.Data < 0 {
			continue
		}
		if strings.HasSuffix(dir, "data/") || strings.HasSuffix(dir, "constants/") {
			z.unusedRecord(ctx, i, dir)
		}
		if z.foreign(ctx, i, name) {
			z.w.model.Variant = variantZipMore
		}
	}
}

// foreign reports whether a member that no tensor uses deserves to be looked into
// as a file of its own. Source code and its debug records do not.
func (z *zipFile) foreign(ctx context.Context, i int, name string) bool {
	e := &z.archive.Entries[i]
	if !e.Contiguous() && e.Size <= smallMember && strings.HasSuffix(name, ".py") {
		return false
	}
	src, off, n, err := z.open(ctx, i)
	if err != nil {
		return true
	}
	head := make([]byte, min(n, formats.HeadBytes))
	if formats.ReadFull(src, head, off) != nil {
		return true
	}
	switch {
	case strings.HasSuffix(name, ".py"):
		return bytes.IndexByte(head, 0) >= 0
	case strings.HasSuffix(name, ".debug_pkl"):
		return !isPickle(head)
	}
	return n > smallMember || isPickle(head) || isZip(head)
}

func (z *zipFile) unusedRecord(ctx context.Context, i int, dir string) {
	e := &z.archive.Entries[i]
	if strings.HasSuffix(dir, ".data/") { // torch's own notes
		return
	}
	src, off, n, err := z.open(ctx, i)
	if err != nil {
		z.w.note("pytorch.record", formats.Unread, e.Header, "record %.200q: %v", e.Name, err)
		return
	}
	z.w.note("pytorch.unused", formats.Warning, off, "no tensor uses record %.200q of %d bytes", e.Name, n)
	name := formats.Cut(e.Name, z.w.limits.NameBytes)
	z.w.add(formats.Tensor{Name: name, Shape: []int64{n}, Data: formats.Extent{Source: src, Offset: off, Length: n}}, nil)
}
