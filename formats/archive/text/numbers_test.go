package text_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/all"
	"weightwarden/formats/archive/text"
)

// Printed weights are there as float32 values, however they were printed.
func TestPrintedNumbers(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 2))
	rows := make([][]float32, 300)
	var want []byte
	for i := range rows {
		rows[i] = make([]float32, 128)
		for k := range rows[i] {
			rows[i][k] = float32(g.NormFloat64() / 50)
			if k == 7 {
				rows[i][k] = 0
			}
			want, _ = binary.Append(want, binary.LittleEndian, rows[i][k])
		}
	}
	list, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	joined := func(sep, end string) string {
		var b strings.Builder
		for _, r := range rows {
			b.WriteString(strings.TrimSuffix(strings.ReplaceAll(strings.Trim(fmt.Sprint(r), "[]"), " ", sep), sep) + end)
		}
		return b.String()
	}
	for name, s := range map[string]string{
		"CSV": joined(",", "\n"), "names": strings.Repeat("w1,w_2,", 20) + "\n" + joined(",", "\r\n"), "tabs": joined("\t", "\n"), "one line": joined(" ", " "),
		"JSON": `{"layer.0.weight": ` + string(list) + `}`, "Python": "import numpy as np\nw = np.array(" + strings.ReplaceAll(string(list), ",", ", ") + ", dtype='f4')\n",
	} {
		m, err := all.Decoders().Decode(t.Context(), formats.BytesSource(s), formats.Limits{})
		if err != nil || len(m.Tensors) != 0 || len(m.Loose) == 0 {
			t.Errorf("%s: %+v, %v", name, m, err)
			continue
		}
		d := m.Loose[0].Data
		got := make([]byte, d.Length)
		if err := formats.ReadFull(d.Source, got, d.Offset); err != nil || !bytes.Contains(got, want) || len(got) > len(want)+8 {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(want), err)
		}
	}
}

// What has numbers in it is not all numbers.
func TestOtherNumbers(t *testing.T) {
	for name, s := range map[string]string{
		"a log":  strings.Repeat("[ 12.345678] usb 1-1: new high-speed device number 5 using xhci_hcd\n", 200),
		"counts": strings.Repeat("12,4,1999,3001\n", 500),
		"code":   strings.Repeat("x := a[1.5] + 0.25*float64(n) // a comment\n", 100),
		"short":  "0.12345,0.2345",
		"names":  strings.Repeat("v1.2.3-e5 1e5x 0x1.8p1 ", 100),
	} {
		if (text.Numbers{}).Sniff([]byte(s)[:min(len(s), formats.HeadBytes)]) {
			t.Errorf("%s is taken for weights", name)
		}
	}
}
