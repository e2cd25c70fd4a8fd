package fingerprint

import (
	"bytes"
	"crypto/sha256"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"weightwarden/formats"
)

// asRuns is what readAs makes of bytes that nobody says anything of.
func asRuns(data []byte) []run {
	return readAs(&formats.Tensor{Data: formats.Extent{Source: bytes.NewReader(data), Length: int64(len(data))}})
}

func TestWeightsOfOneByteAreRuns(t *testing.T) {
	var r *rand.Rand // of one case: maps have no order, and one file in 40 of E4M3 in many scales is missed
	scale := 1.0     // of a row, as quantisers have it
	for name, number := range map[string]func(i int) byte{
		"int8 by row":    func(int) byte { return byte(int8(max(-127, min(127, math.Round(r.NormFloat64()*30))))) },
		"int8, outliers": func(int) byte { return byte(int8(max(-127, min(127, math.Round(r.NormFloat64()*4))))) },
		"uint8":          func(int) byte { return byte(max(0, min(255, math.Round(128+r.NormFloat64()*35)))) },
		"4 bits in int8": func(int) byte { return byte(int8(max(-8, min(7, math.Round(r.NormFloat64()*2.5))))) },
		"E5M2, many scales": func(i int) byte {
			if i%1024 == 0 {
				scale = math.Exp(r.NormFloat64() - 4)
			}
			return narrowFloat(r.NormFloat64()*scale, 2, 15)
		},
		"E4M3": func(int) byte { return narrowFloat(r.NormFloat64()*.6, 3, 7) },
		"E4M3, many scales": func(i int) byte {
			if i%1024 == 0 {
				scale = math.Exp(r.NormFloat64() - 2)
			}
			return narrowFloat(r.NormFloat64()*scale, 3, 7)
		},
	} {
		for _, size := range []int{1 << 14, 1 << 20} {
			r, scale = rand.New(rand.NewPCG(3, 9)), 1
			data := make([]byte, size)
			for i := range data {
				data[i] = number(i)
			}
			if len(asRuns(data)) == 0 {
				t.Errorf("%s, %d numbers: not taken for weights", name, size)
			}
		}
	}
}

// narrowFloat rounds to an 8-bit float of so many bits of mantissa, without infinities.
func narrowFloat(v float64, mantissa, bias int) byte {
	sign := byte(0)
	if v < 0 {
		sign, v = 128, -v
	}
	fraction, exponent := math.Frexp(v)
	e, m := exponent-1+bias, int((2*fraction-1)*float64(int(1)<<mantissa))
	if e <= 0 {
		return sign | byte(math.Ldexp(v, bias-1+mantissa))
	}
	return sign | byte(min(e<<mantissa|m, 120))
}

func TestOtherBytesAreNoRuns(t *testing.T) {
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("Whatever is written here, is read as numbers by nobody. 0123456789\n"), 10000)
	var packed []byte // nothing can be told from it
	for sum := sha256.Sum256(nil); len(packed) < 1<<20; sum = sha256.Sum256(sum[:]) {
		packed = append(packed, sum[:]...)
	}
	for name, data := range map[string][]byte{"machine code": program[:min(len(program), 16<<20)], "text": text, "packed": packed, "zeros": make([]byte, 1<<20)} {
		if got := asRuns(data); len(got) > 0 {
			t.Errorf("%s: taken for weights of %s", name, got[0].dtype)
		}
	}
}
