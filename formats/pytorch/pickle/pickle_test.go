package pickle_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weightwarden/formats"
	"weightwarden/formats/pytorch/pickle"
)

func run(t *testing.T, stream string) *pickle.Result {
	t.Helper()
	res, err := pickle.Run(context.Background(), formats.BytesSource(stream), 0, formats.Limits{})
	if err != nil {
		t.Fatalf("%q: %v", stream, err)
	}
	return res
}

func seq(k pickle.Kind, items ...pickle.Value) *pickle.Seq {
	if items == nil {
		items = []pickle.Value{}
	}
	return &pickle.Seq{Kind: k, Items: items}
}

func TestValues(t *testing.T) {
	for stream, want := range map[string]pickle.Value{
		"N.":                                     nil,
		"\x80\x02\x88.":                          true,
		"I01\n.":                                 true,
		"I42\n.":                                 int64(42),
		"L-42L\n.":                               int64(-42),
		"K\xff.":                                 int64(255),
		"M\x01\x02.":                             int64(513),
		"J\xfe\xff\xff\xff.":                     int64(-2),
		"\x8a\x00.":                              int64(0),
		"\x8a\x01\xff.":                          int64(-1),
		"\x8a\x02\x00\x80.":                      int64(-32768),
		"G?\xf8\x00\x00\x00\x00\x00\x00.":        1.5,
		"F2.5\n.":                                2.5,
		"X\x02\x00\x00\x00ab.":                   "ab",
		"\x8c\x02ab.":                            "ab",
		"U\x02ab.":                               "ab",
		"S'a\\x41\\n'\n.":                        "aA\n",
		"V\\u0041\\x\n.":                         `A\x`,
		"C\x02ab.":                               &pickle.Bytes{Offset: 2, Length: 2},
		"(K\x01K\x02t.":                          seq(pickle.Tuple, int64(1), int64(2)),
		"K\x01K\x02\x86.":                        seq(pickle.Tuple, int64(1), int64(2)),
		").":                                     &pickle.Seq{Kind: pickle.Tuple},
		"](K\x01K\x02e.":                         seq(pickle.List, int64(1), int64(2)),
		"]K\x01a.":                               seq(pickle.List, int64(1)),
		"\x8f(K\x01\x90.":                        seq(pickle.Set, int64(1)),
		"(K\x01\x91.":                            seq(pickle.FrozenSet, int64(1)),
		"}(U\x01aK\x01U\x01bK\x02u.":             &pickle.Dict{Pairs: []pickle.Pair{{Key: "a", Value: int64(1)}, {Key: "b", Value: int64(2)}}},
		"(U\x01aK\x01d.":                         &pickle.Dict{Pairs: []pickle.Pair{{Key: "a", Value: int64(1)}}},
		"K\x01q\x05K\x020h\x05\x86.":             nil, // POP leaves one value: not enough for a pair
		"K\x07\x94h\x00\x86.":                    seq(pickle.Tuple, int64(7), int64(7)),
		"K\x01(K\x02K\x031.":                     int64(1),
		"\x95\x00\x00\x00\x00\x00\x00\x00\x80N.": nil, // FRAME lies
	} {
		res := run(t, stream)
		if stream == "K\x01q\x05K\x020h\x05\x86." {
			want = seq(pickle.Tuple, int64(1), int64(1))
		}
		if diff := cmp.Diff(want, res.Value); diff != "" || res.Broken != nil {
			t.Errorf("%q: broken %v\n%s", stream, res.Broken, diff)
		}
		if res.End != int64(len(stream)) {
			t.Errorf("%q: ends at %d", stream, res.End)
		}
	}
}

func TestCallsAreNotMade(t *testing.T) {
	for name, stream := range map[string]string{
		"REDUCE":       "cos\nsystem\n(U\x02idtR.",
		"OBJ":          "(cos\nsystem\nU\x02ido.",
		"INST":         "(U\x02idios\nsystem\n.",
		"NEWOBJ":       "cos\nsystem\n(U\x02idt\x81.",
		"NEWOBJ_EX":    "cos\nsystem\n(U\x02idt}\x92.",
		"STACK_GLOBAL": "\x8c\x02os\x8c\x06system\x93U\x02id\x85R.",
		"popped":       "cos\nsystem\n(U\x02idtR0N.",
		"by memo":      "\x8c\x02os\x940\x8c\x06systemq\x070h\x00h\x07\x93U\x02id\x85R.",
	} {
		res := run(t, stream)
		if len(res.Calls) != 1 || len(res.Globals) != 1 || res.Broken != nil {
			t.Errorf("%s: %d calls, %d globals, broken %v", name, len(res.Calls), len(res.Globals), res.Broken)
			continue
		}
		if g, ok := res.Calls[0].Name(); !ok || g.String() != "os.system" || g.Judge() != formats.Danger || res.Calls[0].Arg(0) != "id" {
			t.Errorf("%s: call of %v with %v", name, res.Calls[0].Func, res.Calls[0].Args)
		}
	}
}

func TestJudge(t *testing.T) {
	for name, want := range map[string]formats.Severity{
		"torch._utils _rebuild_tensor_v2":  formats.Info,
		"collections OrderedDict":          formats.Info,
		"torch FloatStorage":               formats.Info,
		"torch float8_e4m3fn":              formats.Info,
		"numpy.core.multiarray scalar":     formats.Info,
		"__builtin__ set":                  formats.Info,
		"builtins eval":                    formats.Danger,
		"builtins getattr":                 formats.Danger,
		"posix system":                     formats.Danger,
		"os.path join":                     formats.Danger,
		"torch load":                       formats.Danger,
		"torch.hub load":                   formats.Danger,
		"mymodel.net Net":                  formats.Warning,
		"torch floating":                   formats.Warning,
		"collections OrderedDict.__init__": formats.Danger,
	} {
		module, attr, _ := strings.Cut(name, " ")
		if got := (&pickle.Global{Module: module, Name: attr}).Judge(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestBrokenStreamsKeepWhatWasBuilt(t *testing.T) {
	whole := "}(U\x01aK\x01U\x01b](K\x02K\x03eU\x01cK\x04u."
	res := run(t, whole[:len(whole)-8]) // within the last pair
	top, ok := res.Value.(*pickle.Seq)
	if !ok || top.Kind != pickle.Broken || len(top.Items) != 1 || !errors.Is(res.Broken, formats.ErrTruncated) {
		t.Fatalf("%#v, broken %v", res.Value, res.Broken)
	}
	d, ok := top.Items[0].(*pickle.Dict)
	if !ok || len(d.Pairs) != 2 || d.Pairs[0].Value != int64(1) {
		t.Fatalf("%#v", top.Items[0])
	}
}

func TestHostileStreams(t *testing.T) {
	small := formats.Limits{HeaderBytes: 1 << 20}
	for name, tc := range map[string]struct {
		stream string
		want   error
	}{
		"unknown opcode":      {"N\xff.", formats.ErrMalformed},
		"no stop":             {"N", formats.ErrTruncated},
		"stack underflow":     {"NN\x87.", formats.ErrMalformed},
		"pop below a mark":    {"N(\x85.", formats.ErrMalformed},
		"no mark":             {"Nt.", formats.ErrMalformed},
		"missing memo":        {"Nh\x05.", formats.ErrMalformed},
		"memo of text":        {"Ngx\n.", formats.ErrMalformed},
		"bytes of 2^62":       {"N\x8e\x00\x00\x00\x00\x00\x00\x00\x40", formats.ErrTruncated},
		"bytes of 2^64-1":     {"N\x8e\xff\xff\xff\xff\xff\xff\xff\xff", formats.ErrTruncated},
		"text of 4 GiB":       {"NX\xff\xff\xff\xff", formats.ErrTruncated},
		"long of 2 GiB":       {"N\x8b\xff\xff\xff\x7f", formats.ErrTruncated},
		"marks without end":   {strings.Repeat("(", 2<<20), formats.ErrLimit},
		"dicts without end":   {strings.Repeat("}", 1<<19), formats.ErrLimit},
		"doubling":            {"]\x94" + strings.Repeat("(h\x00h\x00h\x00h\x00t\x94", 1<<18) + ".", formats.ErrLimit},
		"line without end":    {"Nc" + strings.Repeat("a", 3<<20), formats.ErrLimit},
		"number of digits":    {"NI" + strings.Repeat("9", 1000) + "\n.", formats.ErrLimit},
		"OBJ without class":   {"N(o.", formats.ErrMalformed},
		"string no quotes":    {"NSab\n.", formats.ErrMalformed},
		"frame cut":           {"N\x95\x00", formats.ErrTruncated},
		"extension truncated": {"N\x84\x00", formats.ErrTruncated},
	} {
		res, err := pickle.Run(context.Background(), formats.BytesSource(tc.stream), 0, small)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !errors.Is(res.Broken, tc.want) {
			t.Errorf("%s: broken by %v, want %v", name, res.Broken, tc.want)
		}
	}
}

func TestSelfContainingList(t *testing.T) {
	res := run(t, "]\x94h\x00a.")
	l, ok := res.Value.(*pickle.Seq)
	if !ok || len(l.Items) != 1 || l.Items[0] != pickle.Value(l) {
		t.Fatalf("%#v", res.Value)
	}
}

func TestItemsOnSomethingElse(t *testing.T) {
	res := run(t, "K\x01U\x01aK\x02s.")
	if len(res.Notes) != 1 || res.Notes[0].Code != "pickle.type" || res.Value != int64(1) {
		t.Fatalf("%+v", res)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := pickle.Run(ctx, formats.BytesSource("N."), 0, formats.Limits{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
}

func TestLongStringsStayInTheFile(t *testing.T) {
	text := strings.Repeat("x", 100<<10)
	res := run(t, "X\x00\x90\x01\x00"+text+".")
	if diff := cmp.Diff(pickle.Value(&pickle.Bytes{Offset: 5, Length: 100 << 10, UTF8: true}), res.Value); diff != "" {
		t.Fatal(diff)
	}
}

func FuzzRun(f *testing.F) {
	for _, s := range []string{"N.", "cos\nsystem\n(U\x02idtR.", "}(U\x01aK\x01u.", "]\x94h\x00a.", "\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
		"(lp0\nI1\naS'a'\np1\na.", "\x8c\x02os\x8c\x06system\x93\x85R.", "\x80\x05\x95\x01\x00\x00\x00\x00\x00\x00\x00N."} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		res, err := pickle.Run(context.Background(), formats.BytesSource(data), 0, formats.Limits{HeaderBytes: 1 << 20})
		if (res == nil) == (err == nil) {
			t.Fatalf("result %v and error %v", res, err)
		}
		if res != nil && (res.End < 0 || res.End > int64(len(data))) {
			t.Fatalf("ends at %d of %d", res.End, len(data))
		}
	})
}
