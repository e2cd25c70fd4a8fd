package quant

import "weightwarden/formats"

// blockDecoders is indexed by formats.DType - blockBase.
var blockDecoders = [...]decoder{
	formats.Q8_0 - blockBase: decodeQ8_0,
}

// decodeQ8_0 reads blocks of an f16 scale and 32 signed bytes.
func decodeQ8_0(dst []float32, src []byte) {
	for len(dst) >= 32 && len(src) >= 34 {
		d := halfAt(src)
		y, q := (*[32]float32)(dst), (*[32]byte)(src[2:])
		for j, b := range q {
			y[j] = float32(int8(b)) * d
		}
		dst, src = dst[32:], src[34:]
	}
}

// halfAt is the binary16 at the start of b.
func halfAt(b []byte) float32 { return halfToFloat(uint16(b[0]) | uint16(b[1])<<8) }
