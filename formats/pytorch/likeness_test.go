package pytorch_test

import (
	"strings"
	"testing"

	"weightwarden/formats/pytorch"
)

// Lines that begin with a c are opcodes of old pickles that import something, if they name something that can be imported.
func TestTextIsNoPickle(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"Java services":          {"com.example.spi.IStoreFactoryProvider\ncom.example.spi.IUserFactoryProvider\ncom.example.A\ncom.example.B\n", false},
		"lists of files":         {"cryptography-43.0.1.dist-info/INSTALLER,sha256=zuuue4k,4\ncryptography-43.0.1.dist-info/METADATA,sha256=EDaQ,5432\n", false},
		"messages":               {strings.Repeat("cachedrowset.absolute = absolute\\: Ung\xfcltig\ncachedrowset.failed = acceptChanges\n", 20), false},
		"what imports something": {"cos\nsystem\n(S'id'\ntR.", true},
		"cut off behind it":      {"cos\nsystem\n(S'id", true},
		"a module in a package":  {"ctorch._utils\n_rebuild_tensor_v2\n(", true},
		"not the first of them":  {"cno.module here\nx\n0cposix\nsystem\n(S'id'\ntR.", true},
	} {
		if got := (pytorch.Decoder{}).Sniff([]byte(c.text)); got != c.want {
			t.Errorf("%s: taken for a pickle: %v, want %v", name, got, c.want)
		}
	}
}
