package index

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The guesses of first must not depend on keys lying evenly: a registry may be an
// attacker's.
func TestTableFirst(t *testing.T) {
	g := rand.New(rand.NewPCG(5, 6))
	tables := map[string]func(i int) uint64{
		"even":      func(int) uint64 { return g.Uint64() },
		"few":       func(int) uint64 { return g.Uint64N(9) },
		"low":       func(int) uint64 { return g.Uint64N(1 << 20) },
		"high":      func(int) uint64 { return math.MaxUint64 - g.Uint64N(50) },
		"doubling":  func(i int) uint64 { return 1 << (i % 64) },
		"all equal": func(int) uint64 { return 77 },
	}
	for name, key := range tables {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{0, 1, 2, 9, 1000} {
				keys := make([]uint64, n)
				for i := range keys {
					keys[i] = key(i)
				}
				slices.Sort(keys)
				tab := table{entries: make([]byte, 4*n)}
				for _, k := range keys {
					tab.keys = binary.LittleEndian.AppendUint64(tab.keys, k)
				}
				asked := append([]uint64{0, 1, math.MaxUint64, g.Uint64()}, keys...)
				for _, k := range asked {
					want, _ := slices.BinarySearch(keys, k)
					if got := tab.first(k); got != want {
						t.Fatalf("%d keys: first(%d) = %d, want %d", n, k, got, want)
					}
				}
			}
		})
	}
}
