package pytorch

import (
	"context"
	"path"
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
	byName  map[string]int // names, case folded as PyTorch looks them up; the first wins
	used    []bool         // per entry
	w       *walker
}

func decodeZip(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Model, error) {
	a, err := zip.Read(ctx, src, limits)
	if err != nil {
		return nil, err
	}
	z := &zipFile{src: src, archive: a, byName: make(map[string]int, len(a.Entries)), used: make([]bool, len(a.Entries))}
	var pickles []int
	for i := range a.Entries {
		name := fold(a.Entries[i].Name)
		if _, have := z.byName[name]; !have {
			z.byName[name] = i
		}
		if strings.HasSuffix(name, ".pkl") {
			pickles = append(pickles, i)
		}
	}
	if !z.holdsModel(pickles) {
		return nil, formats.Errorf(id, "data.pkl", -1, formats.ErrNotRecognized, "no pickle in the archive")
	}
	m := &formats.Model{Format: id, Variant: variantZip}
	for _, f := range a.Findings {
		m.AddFinding(limits.Findings, f)
	}
	z.w = newWalker(ctx, m, limits)
	for n, i := range pickles {
		if n >= maxPickles {
			z.w.note("pytorch.pickles", formats.Unread, -1, "only the first %d of %d pickles were read", maxPickles, len(pickles))
			break
		}
		if err := z.pickle(ctx, i); err != nil {
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
func (z *zipFile) pickle(ctx context.Context, i int) error {
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
	big := z.bigEndian(ctx, path.Dir(fold(e.Name)))
	z.w.src = src
	z.w.resolve = func(p *pickle.Persistent) (*storage, error) { return z.storage(ctx, folder, big, p) }
	var root *trail
	if base := strings.TrimSuffix(path.Base(e.Name), ".pkl"); base != "data" {
		root = root.child(base)
	}
	return z.w.pickle(res, root)
}

// storage finds the record of a persistent id.
func (z *zipFile) storage(ctx context.Context, folder string, big bool, p *pickle.Persistent) (*storage, error) {
	s, ok := parseStorageID(p)
	if !ok {
		return nil, formats.Errorf(id, "persistent id", p.Offset, formats.ErrUnsupported, "no storage")
	}
	if !s.typed {
		z.w.note("pytorch.dtype", formats.Unread, p.Offset, "storage %.200q is of an unknown class", s.key)
	}
	i, ok := z.byName[folder+fold(s.key)]
	if !ok {
		i, ok = z.byName[path.Dir(path.Dir(folder))+"/.data/"+fold(s.key)+".storage"] // torch.package
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

// bigEndian reads the byteorder record beside a pickle.
func (z *zipFile) bigEndian(ctx context.Context, folder string) bool {
	return z.text(ctx, folder, "byteorder") == "big"
}

// text reads a short record.
func (z *zipFile) text(ctx context.Context, folder, name string) string {
	if folder != "." {
		name = folder + "/" + name
	}
	i, ok := z.byName[name]
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
			if v := z.text(ctx, strings.TrimSuffix(dir, "/"), base); v != "" && z.byName[name] == i {
				z.w.keyValue(base, v)
			}
		}
		if z.used[i] || e.Dir() || e.Data < 0 {
			continue
		}
		if strings.HasSuffix(dir, "data/") || strings.HasSuffix(dir, "constants/") {
			z.unusedRecord(ctx, i, dir)
		}
		if e.Size > smallMember || e.Packed > smallMember {
			z.w.model.Variant = variantZipMore
		}
	}
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
