package quant

// codeDecoder returns the decoder of unsigned codes of some bits each, low bits
// first; nil for widths that no scheme uses.
func codeDecoder(bits int64) decoder {
	switch bits {
	case 2:
		return func(dst []float32, src []byte) { decodeTable2(dst, src, &tableU2) }
	case 3, 5, 6:
		return func(dst []float32, src []byte) { decodeStream(dst, src, uint(bits)) }
	case 4:
		return func(dst []float32, src []byte) { decodeTable4(dst, src, &tableU4) }
	case 8:
		return decodeU8
	}
	return nil
}

// decodeStream reads codes that cross the borders of bytes.
func decodeStream(dst []float32, src []byte, bits uint) {
	var word uint64
	var have uint
	mask := uint64(1)<<bits - 1
	for i := range dst {
		for have < bits && len(src) > 0 {
			word |= uint64(src[0]) << have
			src, have = src[1:], have+8
		}
		dst[i] = float32(word & mask)
		word, have = word>>bits, have-min(bits, have)
	}
}

// decodeHighFirst reads nibbles, the high one of a byte first.
func decodeHighFirst(dst []float32, src []byte, table *[16]float32) {
	for len(dst) >= 2 && len(src) >= 1 {
		dst[0], dst[1] = table[src[0]>>4], table[src[0]&15]
		dst, src = dst[2:], src[1:]
	}
	if len(dst) == 1 && len(src) > 0 {
		dst[0] = table[src[0]>>4]
	}
}
