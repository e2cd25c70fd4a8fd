package pytorch_test

import (
	"archive/tar"
	stdzip "archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/pytorch"
	"weightwarden/internal/fixtures"
)

// Pieces of pickles.
const (
	proto   = "\x80\x02"
	payload = "cos\nsystem\nX\x02\x00\x00\x00id\x85R" // os.system("id")
)

func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func number(n int) string { return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }

// tensorOp builds a float tensor of two values over the storage of that key.
func tensorOp(key string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(2) +
		"tQ" + number(0) + number(2) + "\x85" + number(1) + "\x85\x89}tR"
}

// dictOp is a dict of tensors over storages 0, 1, ...
func dictOp(names ...string) string {
	s := "}("
	for i, n := range names {
		s += text(n) + tensorOp(fmt.Sprint(i))
	}
	return s + "u"
}

type member struct{ name, data string }

// archiveOf is a stored zip.
func archiveOf(tb testing.TB, members ...member) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := stdzip.NewWriter(&buf)
	for _, m := range members {
		e, err := w.CreateHeader(&stdzip.FileHeader{Name: m.name, Method: stdzip.Store})
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := e.Write([]byte(m.data)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func model(tb testing.TB, pkl string, more ...member) []byte {
	tb.Helper()
	return archiveOf(tb, append([]member{{"m/data.pkl", pkl}, {"m/data/0", "AAAABBBB"}, {"m/data/1", "CCCCDDDD"}, {"m/version", "3\n"}}, more...)...)
}

// patch changes bytes behind the n-th occurrence of a signature.
func patch(data []byte, sig string, n, at int, b ...byte) []byte {
	data = bytes.Clone(data)
	i := 0
	for ; n >= 0; n-- {
		i += bytes.Index(data[i:], []byte(sig)) + 4
	}
	copy(data[i-4+at:], b)
	return data
}

// legacyOf is a legacy file of that object with one storage.
func legacyOf(object string) []byte {
	magic := proto + "\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
	info := proto + "}(" + text("little_endian") + "\x88u."
	return []byte(magic + proto + "M\xe9\x03." + info + object + proto + "]" + text("0") + "a." + "\x02\x00\x00\x00\x00\x00\x00\x00AAAABBBB")
}

// TestEvasion holds the decoder against published ways around scanners of model
// files. Tensors are listed in every case, and what is odd is said.
func TestEvasion(t *testing.T) {
	good := proto + dictOp("a", "b") + "."
	plain := model(t, good)
	big, err := os.ReadFile(fixtures.Path(t, "fixtures", "safetensors", "one.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		data    []byte
		tensors []string
		codes   []string // findings that must be there
	}{
		"plain":                     {plain, []string{"a", "b"}, nil},
		"payload in the pickle":     {model(t, proto+payload+"0"+dictOp("a", "b")+"."), []string{"a", "b"}, []string{"pickle.global"}},
		"stream breaks after it":    {model(t, proto+dictOp("a", "b")+payload+"\xff"), []string{"a", "b"}, []string{"pickle.global", "pickle.broken"}},
		"breaks inside the dict":    {model(t, proto+"}("+text("a")+tensorOp("0")+text("b")+tensorOp("1")+"\xff"), []string{"a", "b"}, []string{"pickle.broken"}},
		"stack global by memo":      {model(t, proto+text("os")+"q\x01"+text("system")+"q\x020"+"0h\x01h\x02\x93"+text("id")+"\x85R0"+dictOp("a", "b")+"."), []string{"a", "b"}, []string{"pickle.global"}},
		"call hidden by OBJ POP":    {model(t, proto+"(cos\nsystem\n"+text("id")+"o0"+dictOp("a", "b")+"."), []string{"a", "b"}, []string{"pickle.global"}},
		"thrown away tensor":        {model(t, proto+dictOp("a")+tensorOp("1")+"0."), []string{"a", "discarded.1"}, []string{"pickle.discarded"}},
		"junk behind STOP":          {model(t, good+"junk"), []string{"a", "b"}, []string{"pickle.trailing"}},
		"prefix":                    {append([]byte(strings.Repeat("#!", 2500)), plain...), []string{"a", "b"}, []string{"zip.prefix"}},
		"suffix":                    {append(bytes.Clone(plain), "garbage"...), []string{"a", "b"}, []string{"zip.suffix"}},
		"bad checksums":             {patch(patch(plain, "PK\x01\x02", 0, 16, 1, 2, 3, 4), "PK\x01\x02", 1, 16, 1, 2, 3, 4), []string{"a", "b"}, []string{"zip.crc"}},
		"encrypted flag, local":     {patch(plain, "PK\x03\x04", 1, 6, 9), []string{"a", "b"}, []string{"zip.flags"}},
		"encrypted flag, central":   {patch(plain, "PK\x01\x02", 1, 8, 9), []string{"a", "b"}, []string{"zip.flags"}},
		"renamed local header":      {patch(plain, "PK\x03\x04", 0, 30, 'X'), []string{"a", "b"}, []string{"zip.name"}},
		"local method 99":           {patch(plain, "PK\x03\x04", 0, 8, 99), []string{"a", "b"}, []string{"zip.method"}},
		"no directory":              {plain[:bytes.Index(plain, []byte("PK\x01\x02"))], []string{"a", "b"}, []string{"zip.nodirectory"}},
		"upper case records":        {archiveOf(t, member{"m/data.pkl", good}, member{"m/DATA/0", "AAAABBBB"}, member{"m/DATA/1", "CCCCDDDD"}), []string{"a", "b"}, nil},
		"duplicate record":          {model(t, good, member{"m/data/0", "EEEEFFFF"}), []string{"a", "b", "m/data/0"}, []string{"zip.duplicate", "pytorch.unused"}},
		"no top folder":             {archiveOf(t, member{"data.pkl", good}, member{"data/0", "AAAABBBB"}, member{"data/1", "CCCCDDDD"}), []string{"a", "b"}, nil},
		"back-slashes":              {archiveOf(t, member{`m\data.pkl`, good}, member{`m\data\0`, "AAAABBBB"}, member{`m\data\1`, "CCCCDDDD"}), []string{"a", "b"}, nil},
		"two roots":                 {model(t, good, member{"n/data.pkl", proto + dictOp("c") + "."}, member{"n/data/0", "GGGGHHHH"}), []string{"a", "b", "c"}, nil},
		"pickle under another name": {model(t, good, member{"m/weights.bin", proto + "cnt\nsystem\n" + text("x") + "\x85R."}), []string{"a", "b"}, []string{"pickle.global"}},
		"model in an extra member":  {model(t, good, member{"m/extra/w", string(big)}), nil, nil},
		"record that is a pickle":   {model(t, good, member{"m/data/2", proto + payload + "."}), []string{"a", "b", "m/data/2"}, []string{"pytorch.unused", "pickle.global"}},
		"renamed rebuild module":    {model(t, strings.ReplaceAll(good, "ctorch._utils\n", "cmy.utils\n")), []string{"a", "b"}, []string{"pickle.global"}},
		"legacy":                    {legacyOf(proto + dictOp("a") + "."), []string{"a"}, nil},
		"legacy with a payload":     {legacyOf(proto + payload + "0" + dictOp("a") + "."), []string{"a"}, []string{"pickle.global"}},
		"magic spelled by opcodes":  {legacyOf(proto + payload + "0" + dictOp("a") + "."), []string{"a"}, []string{"pickle.global"}},
		"payload before the magic":  {append([]byte(proto+payload+"0"), legacyOf(proto + dictOp("a") + ".")[2:]...), []string{"a"}, []string{"pickle.global"}},
		"second pickle":             {[]byte(proto + "N." + proto + payload + "."), nil, []string{"pickle.global"}},
		"legacy and zip at once":    {append(legacyOf(proto+dictOp("c")+"."), plain...), []string{"c", "a", "b"}, []string{"pytorch.polyglot"}},
		"zip and safetensors":       {append(bytes.Clone(big), plain...), nil, []string{"polyglot"}},
		"storage too small":         {archiveOf(t, member{"m/data.pkl", good}, member{"m/data/0", "AAAA"}, member{"m/data/1", "CCCCDDDD"}), []string{"a", "b"}, []string{"pytorch.storage", "pytorch.record"}},
		"record is missing":         {archiveOf(t, member{"m/data.pkl", good}, member{"m/data/0", "AAAABBBB"}), []string{"a", "b"}, []string{"pytorch.storage"}},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := all.Decoders().Decode(context.Background(), formats.BytesSource(tc.data), formats.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var names, codes []string
			for _, tensor := range m.Tensors {
				names = append(names, tensor.Name)
			}
			for _, f := range m.Findings {
				codes = append(codes, f.Code)
			}
			if tc.tensors != nil && !slices.Equal(names, tc.tensors) {
				t.Errorf("tensors %q, want %q", names, tc.tensors)
			}
			if strings.Contains(name, "safetensors") || strings.Contains(name, "extra member") {
				if len(names) < 3 {
					t.Errorf("tensors %q: one of the models is hidden", names)
				}
			}
			for _, c := range tc.codes {
				if !slices.Contains(codes, c) {
					t.Errorf("findings %q lack %s", codes, c)
				}
			}
			if name == "plain" && len(codes) > 0 {
				t.Errorf("findings %v on a plain file", m.Findings)
			}
		})
	}
}

func TestOwnContainers(t *testing.T) {
	plain := model(t, proto+dictOp("a", "b")+".")
	m, err := all.Decoders().Decode(context.Background(), formats.BytesSource(archiveOf(t, member{"outer/model.pt", string(plain)})), formats.Limits{})
	if err != nil || len(m.Tensors) != 2 || m.Tensors[0].Member != "outer/model.pt" || m.Format != "zip(pytorch)" {
		t.Fatalf("%v %+v", err, m)
	}
}

func tarOf(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o600, Format: tar.FormatUSTAR}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestTarAndZip(t *testing.T) {
	plain := model(t, proto+dictOp("a", "b")+".")
	for name, data := range map[string][]byte{
		"inside": tarOf(t, "model.pt", plain),
		"behind": append(tarOf(t, "note", []byte("hello")), plain...),
	} {
		m, err := all.Decoders().Decode(context.Background(), formats.BytesSource(data), formats.Limits{})
		if err != nil || len(m.Tensors) != 2 || m.Tensors[0].Name != "a" {
			t.Errorf("%s: %v %+v", name, err, m)
		}
	}
}

func TestHostileTensors(t *testing.T) {
	odd := func(offset, size, stride string) []byte {
		return model(t, proto+"}("+text("a")+"ctorch._utils\n_rebuild_tensor_v2\n(("+text("storage")+"ctorch\nFloatStorage\n"+text("0")+text("cpu")+number(2)+
			"tQ"+offset+size+stride+"\x89}tRu.")
	}
	long := func(n int64) string { return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }
	for name, data := range map[string][]byte{
		"huge size":       odd(number(0), long(1<<62)+"\x85", number(1)+"\x85"),
		"overflow":        odd(number(0), long(1<<40)+long(1<<40)+"\x86", number(1)+number(1)+"\x86"),
		"negative size":   odd(number(0), number(-1)+"\x85", number(1)+"\x85"),
		"negative offset": odd(number(-1), number(2)+"\x85", number(1)+"\x85"),
		"offset wraps":    odd(long(1<<62), number(2)+"\x85", number(1)+"\x85"),
		"stride wraps":    odd(number(0), number(2)+"\x85", long(1<<62)+"\x85"),
		"negative stride": odd(number(1), number(2)+"\x85", number(-1)+"\x85"),
		"axes differ":     odd(number(0), number(2)+"\x85", number(1)+number(1)+"\x86"),
		"size is text":    odd(number(0), text("x")+"\x85", number(1)+"\x85"),
		"no size":         odd(number(0), "N", "N"),
	} {
		m, err := pytorch.Decoder{}.Decode(context.Background(), formats.BytesSource(data), formats.Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.ContainsFunc(m.Findings, func(f formats.Finding) bool { return f.Severity == formats.Unread }) {
			t.Errorf("%s: not a word: %+v", name, m)
		}
		for i := range m.Tensors {
			if m.Tensors[i].Data.Source != nil && m.Tensors[i].Name == "a" {
				t.Errorf("%s: has an extent %+v", name, m.Tensors[i].Data)
			}
		}
	}
	expanded := odd(number(0), long(1<<40)+"\x85", number(0)+"\x85") // one value a trillion times is fine
	if m, err := (pytorch.Decoder{}).Decode(context.Background(), formats.BytesSource(expanded), formats.Limits{}); err != nil || m.Tensors[0].Data.Length != 4 {
		t.Errorf("expanded: %+v, %v", m, err)
	}
}

// TestDeepAndSharedTrees holds that neither depth nor sharing costs more than
// the pickle is long.
func TestDeepAndSharedTrees(t *testing.T) {
	deep := proto + strings.Repeat("](", 200_000) + tensorOp("0") + strings.Repeat("e", 200_000) + "."
	shared := proto + "]q\x00(" + tensorOp("0") + "e"
	for i := byte(1); i < 60; i++ {
		shared += "]q" + string([]byte{i}) + "(h" + string([]byte{i - 1}) + "h" + string([]byte{i - 1}) + "e"
	}
	self := proto + "]q\x00(h\x00" + tensorOp("0") + "e."
	for name, pkl := range map[string]string{"deep": deep, "shared": shared + ".", "self": self} {
		m, err := pytorch.Decoder{}.Decode(context.Background(), formats.BytesSource(model(t, pkl)), formats.Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(m.Tensors) == 0 || m.Tensors[0].Data.Source == nil || len(m.Tensors[0].Name) > 4096 {
			t.Errorf("%s: %d tensors", name, len(m.Tensors))
		}
	}
}

func TestTensorLimit(t *testing.T) {
	m, err := pytorch.Decoder{}.Decode(context.Background(), formats.BytesSource(model(t, proto+dictOp("a", "b")+".")), formats.Limits{Tensors: 1})
	if err != nil || len(m.Tensors) != 1 || !slices.ContainsFunc(m.Findings, func(f formats.Finding) bool { return f.Code == "tensors.limit" }) {
		t.Fatalf("%v %+v", err, m)
	}
}

func TestNotRecognised(t *testing.T) {
	for _, data := range []string{"", "PK", "hello world, this is text", "\x80\x02", "\x80\x09N.", "(("} {
		m, err := pytorch.Decoder{}.Decode(context.Background(), formats.BytesSource(data), formats.Limits{})
		var fe *formats.Error
		if m != nil || !errors.As(err, &fe) {
			t.Errorf("%q: %+v, %v", data, m, err)
		}
	}
}
