package text_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/archive/text"
	"weightwarden/internal/fixtures"
)

// wrapped breaks text into lines.
func wrapped(s string, n int, end string) string {
	var b strings.Builder
	for chunk := range slices.Chunk([]byte(s), n) {
		b.Write(chunk)
		b.WriteString(end)
	}
	return b.String()
}

func TestModelsAsText(t *testing.T) {
	model, err := os.ReadFile(fixtures.Path(t, "models", "aurora-q4_0.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := all.Decoders().Decode(t.Context(), formats.BytesSource(model), formats.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	std := base64.StdEncoding.EncodeToString(model)
	for name, c := range map[string]struct {
		text   string
		format formats.ID
	}{
		"base64": {wrapped(std, 76, "\n"), "base64(gguf)"}, "one line": {std, "base64(gguf)"}, "CRLF": {wrapped(std, 64, "\r\n"), "base64(gguf)"},
		"base64url": {base64.RawURLEncoding.EncodeToString(model), "base64(gguf)"},
		"hex":       {wrapped(hex.EncodeToString(model), 60, "\n"), "hex(gguf)"}, "HEX": {strings.ToUpper(hex.EncodeToString(model)), "hex(gguf)"},
	} {
		m, err := all.Decoders().Decode(t.Context(), formats.BytesSource(c.text), formats.Limits{})
		if err != nil || m.Format != c.format || len(m.Tensors) != len(whole.Tensors) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	for name, s := range map[string]string{
		"a mail": "From: a@example.com\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\nHello.\r\n" + strings.Repeat("Some words to begin with, as people do.\r\n", 30) +
			"--x\r\nContent-Transfer-Encoding: base64\r\n\r\n" + wrapped(std, 76, "\r\n") + "\r\n--x--\r\n",
		"no blank line": strings.Repeat("a line of text\n", 50) + "data\n" + wrapped(std, 76, "\n"),
		"PEM":           strings.Repeat("a comment in front\n", 40) + "-----BEGIN MODEL-----\n" + wrapped(std, 64, "\n") + "-----END MODEL-----\n",
		"JSON":          `{"name": "` + strings.Repeat("x y ", 200) + `", "weights": "` + std + `", "n": 1}`,
		"a data URL":    "<html><body>" + strings.Repeat("<p>text</p>\n", 300_000) + `<a href="data:application/octet-stream;base64,` + std + `">w</a>`,
		"second run":    strings.Repeat("some text, ", 60) + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("picture", 1000))) + " and\n" + std + "\n",
	} {
		m, err := all.Decoders().Decode(t.Context(), formats.BytesSource(s), formats.Limits{})
		if err != nil || m.Format != "base64(gguf)" || len(m.Tensors) != len(whole.Tensors) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	half, err := all.Decoders().Decode(t.Context(), formats.BytesSource(std[:len(std)/2]), formats.Limits{})
	if err != nil || len(half.Tensors) == 0 {
		t.Errorf("half of it: %v", err)
	}
}

// Other text holds no tensors; what it may be the writing of is there as bytes.
func TestOtherText(t *testing.T) {
	for name, s := range map[string]string{
		"prose": strings.Repeat("It was a dark and stormy night. ", 10_000), "one word": strings.Repeat("weights", 30_000), "digits": strings.Repeat("31415926535\n", 20_000),
		"a genome": strings.Repeat("GATTACA", 30_000), "base64 of noise": base64.StdEncoding.EncodeToString([]byte(strings.Repeat("no model here", 20_000))), "short": "QUJD",
	} {
		m, err := all.Decoders().Decode(t.Context(), formats.BytesSource(s), formats.Limits{})
		writing := name != "prose" && name != "short"
		if (err == nil) != writing || writing && (len(m.Tensors) > 0 || len(m.Loose) != 1 || m.Loose[0].Data.Length < int64(len(s))/3) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(strings.Repeat("QUJDREVG", 100)))
	f.Add([]byte(strings.Repeat("00ff\n", 200)))
	f.Add([]byte(strings.Repeat("-1.2345e-3,0.0625,", 60)))
	f.Add([]byte(strings.Repeat("A", 600) + "="))
	f.Add([]byte(strings.Repeat("some words ", 60) + "base64\n" + wrapped(strings.Repeat("QUJDREVG", 500), 76, "\r\n") + "\n\n" + strings.Repeat("x", 3000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, c := range text.All() {
			head := data[:min(len(data), formats.HeadBytes)]
			if !c.Sniff(head) {
				continue
			}
			m, err := c.Open(context.Background(), formats.BytesSource(data), formats.Limits{InflatedBytes: 1 << 20})
			if (m == nil) == (err == nil) {
				t.Fatal(m, err)
			}
			if m != nil && m.Files[0].Source.Size() > int64(len(data)) {
				t.Errorf("%d bytes of %d", m.Files[0].Source.Size(), len(data))
			}
		}
	})
}
