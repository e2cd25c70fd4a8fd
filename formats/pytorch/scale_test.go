package pytorch_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/formatstest"
	"weightwarden/formats/pytorch"
)

// hugeZip is an archive of one stored record of 100 GB, which is not there.
func hugeZip(t *testing.T, bytes int64) formats.Source {
	t.Helper()
	le := binary.LittleEndian
	pkl := proto + "}(" + text("w") + "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nByteStorage\n" + text("0") + text("cpu") +
		"\x8a\x08" + string(le.AppendUint64(nil, uint64(bytes))) + "tQ" + number(0) + "\x8a\x08" + string(le.AppendUint64(nil, uint64(bytes))) + "\x85" + number(1) + "\x85\x89}tRu."
	local := func(name string, n int64) []byte {
		b := append([]byte("PK\x03\x04\x2d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"), byte(len(name)), 0, 20, 0)
		b = append(append(b, name...), 1, 0, 16, 0)
		return le.AppendUint64(le.AppendUint64(b, uint64(n)), uint64(n))
	}
	central := func(name string, n, off int64) []byte {
		b := append([]byte("PK\x01\x02\x2d\x00\x2d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"), byte(len(name)), 0, 28, 0)
		b = append(b, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"...)
		b = append(append(b, name...), 1, 0, 24, 0)
		return le.AppendUint64(le.AppendUint64(le.AppendUint64(b, uint64(n)), uint64(n)), uint64(off))
	}
	head := append(local("m/data.pkl", int64(len(pkl))), pkl...)
	second := int64(len(head))
	head = append(head, local("m/data/0", bytes)...)
	dir := int64(len(head)) + bytes
	tail := append(central("m/data.pkl", int64(len(pkl)), 0), central("m/data/0", bytes, second)...)
	size := int64(len(tail))
	end := dir + size
	tail = append(tail, "PK\x06\x06\x2c\x00\x00\x00\x00\x00\x00\x00\x2d\x00\x2d\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	tail = le.AppendUint64(le.AppendUint64(tail, 2), 2)
	tail = le.AppendUint64(le.AppendUint64(tail, uint64(size)), uint64(dir))
	tail = append(le.AppendUint64(append(tail, "PK\x06\x07\x00\x00\x00\x00"...), uint64(end)), 1, 0, 0, 0)
	tail = append(tail, "PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"...)
	return formatstest.Sparse{Head: head, Tail: tail, Bytes: dir + int64(len(tail))}
}

// hugeLegacy is a legacy file with a storage of 100 GB.
func hugeLegacy(t *testing.T, n int64) formats.Source {
	t.Helper()
	object := strings.ReplaceAll(proto+dictOp("w")+".", "FloatStorage", "ByteStorage")
	head := legacyOf(object)
	head = head[:len(head)-16]
	head = binary.LittleEndian.AppendUint64(head, uint64(n))
	return formatstest.Sparse{Head: head, Bytes: int64(len(head)) + n}
}

// hugeBytes is a pickle with a bytes object of 100 GB in front of a tensor.
func hugeBytes(t *testing.T, n int64) formats.Source {
	t.Helper()
	array := "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n))) +
		"\x85cnumpy\ndtype\n" + text("u1") + "\x89\x88\x87R\x89\x8e" + string(binary.LittleEndian.AppendUint64(nil, uint64(n)))
	return formatstest.Sparse{Head: []byte("\x80\x04}(" + text("w") + array), Tail: []byte("tbu."), Bytes: int64(4+5+1+len(array)) + n + 4}
}

func TestHugeFilesOpenInLittle(t *testing.T) {
	const size = 100e9
	for name, src := range map[string]formats.Source{"zip": hugeZip(t, size), "legacy": hugeLegacy(t, size), "pickle": hugeBytes(t, size)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := pytorch.Decoder{}.Decode(context.Background(), src, formats.Limits{})
		runtime.ReadMemStats(&after)
		if err != nil || len(m.Tensors) != 1 || m.Tensors[0].Data.Source == nil {
			t.Errorf("%s: %v %+v", name, err, m)
			continue
		}
		if n := m.Tensors[0].Data.Length; n < 2 || name != "legacy" && n != size {
			t.Errorf("%s: %d bytes", name, n)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
			t.Errorf("%s: allocated %d bytes", name, used)
		}
	}
}

// TestHostilePicklesStayWithinMemory runs pickles that make as much as they can
// out of every byte.
func TestHostilePicklesStayWithinMemory(t *testing.T) {
	limits := formats.Limits{HeaderBytes: 4 << 20}
	n := int(limits.HeaderBytes)
	for name, pkl := range map[string][]byte{
		"dicts":    bytes.Repeat([]byte("}"), n),
		"marks":    bytes.Repeat([]byte("("), n),
		"tuples":   append([]byte("N"), bytes.Repeat([]byte("\x85"), n)...),
		"memo":     append([]byte("\x80\x04N"), bytes.Repeat([]byte("\x94"), n)...),
		"dup":      append([]byte("]"), bytes.Repeat([]byte("2"), n)...),
		"calls":    append([]byte("cos\nsystem\n"), bytes.Repeat([]byte("2)R0"), n/4)...),
		"globals":  bytes.Repeat([]byte("ca\nb\n0"), n/6),
		"persist":  append([]byte("N"), bytes.Repeat([]byte("Q"), n)...),
		"build":    append([]byte("cos\nsystem\n)R"), bytes.Repeat([]byte("Nb"), n/2)...),
		"doubling": append([]byte("]\x94"), bytes.Repeat([]byte("(h\x00h\x00h\x00h\x00h\x00h\x00l0"), n/16)...),
		"strings":  bytes.Repeat([]byte("\x8c\x01a"), n/3),
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m, err := pytorch.Decoder{}.Decode(context.Background(), formats.BytesSource("\x80\x04"+string(pkl)), limits)
		runtime.ReadMemStats(&after)
		if (m == nil) == (err == nil) {
			t.Errorf("%s: %v and %v", name, m, err)
		}
		// What was allocated in all bounds what was held at any time.
		if used := int64(after.TotalAlloc - before.TotalAlloc); used > 24*limits.HeaderBytes {
			t.Errorf("%s: allocated %d MiB for a pickle of 4", name, used>>20)
		} else {
			t.Logf("%s: %d MiB", name, used>>20)
		}
	}
}
