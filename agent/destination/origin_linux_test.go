package destination

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOrigin(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, ok := Origin(f); ok {
		t.Errorf("a file without a note comes from %q", got)
	}
	for text, want := range map[string]string{
		"https://bob:secret@hub.example/a/b?token=x#y": "https://hub.example/a/b",
		"https://h/x\x00": "https://h/x",
		"no address":      "", "": "", "https://h/%zz": "",
	} {
		if err := unix.Fsetxattr(int(f.Fd()), "user.xdg.origin.url", []byte(text), 0); err != nil {
			t.Skipf("no extended attributes here: %v", err)
		}
		if got, ok := Origin(f); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", text, got, ok)
		}
	}
}

func TestPacked(t *testing.T) {
	for format, want := range map[string]string{"tar(safetensors)": "tar", "gzip(tar(gguf))": "gzip", "zip": "zip", "pytorch": "", "set(gguf)": "", "safetensors": "", "": ""} {
		if got, ok := Packed(format); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", format, got, ok)
		}
	}
}
