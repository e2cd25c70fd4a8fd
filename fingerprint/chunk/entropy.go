package chunk

import "math"

// entropy returns the Shannon entropy of a byte histogram of n bytes, in bits a byte.
func entropy(seen *[256]int, n int) float64 {
	h := 0.0
	for _, c := range seen {
		if c > 0 {
			p := float64(c) / float64(n)
			h -= p * math.Log2(p)
		}
	}
	return h
}
