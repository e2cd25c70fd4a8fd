package pytorch

import (
	"context"
	"strconv"
	"strings"

	"weightwarden/formats"
	"weightwarden/formats/pytorch/pickle"
)

// shardNames names the archives of a distributed checkpoint (torch.distributed.
// checkpoint): a .distcp file is one small archive a tensor, and the file
// .metadata beside it says at which offset which tensor lies. Nil where there is
// none. The file's own name is not known here, so an offset that two files use
// for different tensors names none.
func (z *zipFile) shardNames(ctx context.Context) map[int64]string {
	archives := max(len(z.archive.Starts), 1)
	if archives == 1 && (len(z.archive.Entries) == 0 || !strings.HasPrefix(z.archive.Entries[0].Name, "archive/")) {
		return nil
	}
	src, err := formats.OpenSibling(z.src, ".metadata")
	if err != nil {
		return nil
	}
	res, err := pickle.Run(ctx, src, 0, z.w.limits)
	if err != nil {
		return nil
	}
	return storageData(res.Value)
}

// storageData reads Metadata.storage_data: MetadataIndex(fqn, offset, index) to
// _StorageInfo(relative_path, offset, length).
func storageData(v pickle.Value) map[int64]string {
	d, ok := field(v, "storage_data").(*pickle.Dict)
	if !ok {
		return nil
	}
	names := map[int64]string{}
	for _, p := range d.Pairs {
		name, ok := field(p.Key, "fqn").(string)
		off, okOff := field(p.Value, "offset").(int64)
		if !ok || !okOff {
			continue
		}
		if at, ok := ints(field(p.Key, "offset")); ok {
			name += chunkSuffix(at)
		}
		if have, seen := names[off]; seen && have != name {
			name = ""
		}
		names[off] = name
	}
	return names
}

// chunkSuffix marks a part of a sharded tensor by its first index, "" for the start.
func chunkSuffix(at []int64) string {
	text, moved := "", false
	for i, x := range at {
		if i > 0 {
			text += ","
		}
		text += strconv.FormatInt(x, 10)
		moved = moved || x != 0
	}
	if !moved {
		return ""
	}
	return "[" + text + "]"
}

// field returns an attribute of an object whose state is a dict.
func field(v pickle.Value, name string) pickle.Value {
	c, ok := v.(*pickle.Call)
	if !ok {
		return nil
	}
	d, ok := c.State.(*pickle.Dict)
	if !ok {
		return nil
	}
	for _, p := range d.Pairs {
		if p.Key == pickle.Value(name) {
			return p.Value
		}
	}
	return nil
}
