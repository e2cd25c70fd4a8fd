package sketch

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"

	"github.com/zeebo/blake3"
)

// Limits of what is sketched; larger matrices are sketched in part or left to
// the exact layer, and the fingerprint says so.
const (
	MinLength     = 64      // elements of a row
	MaxLength     = 1 << 22 // elements of a row
	MinCount      = 8       // rows
	maxSampled    = 1 << 24 // rows that samples are drawn from
	maxColumnRows = 1 << 16 // rows up to which columns are collected (16 MiB)
	maxTransposed = 4 << 20 // elements of a matrix that is sketched along its other axis
	sumAllBelow   = 2048    // rows up to which layer T takes every row
	sumOneIn      = 4       // of more rows it takes one in so many, of twice as many one in twice so many
)

// Maker holds what sketches of one key share: signs and sample order. It is safe
// for concurrent use.
type Maker struct {
	// Thorough makes builders look for tables by repetitions, too, which takes longer: for models that
	// are registered, since only these are judged by it.
	Thorough bool

	seed [32]byte
	rank uint64

	mu      sync.Mutex
	signs   []uint32
	samples map[sampleOf][]int64 // the last few that were drawn
}

// sampleOf is what a sample depends on beside the key.
type sampleOf struct {
	count int64
	n     int
}

// maxSamples is how many samples are remembered: networks have few sizes of matrices.
const maxSamples = 64

// NewMaker returns a maker for a 32-byte seed derived from the fingerprint key.
func NewMaker(seed []byte) *Maker {
	m := &Maker{}
	copy(m.seed[:], seed)
	m.rank = binary.LittleEndian.Uint64(m.stream("rank", 8))
	return m
}

func (m *Maker) stream(purpose string, n int) []byte {
	h, err := blake3.NewKeyed(m.seed[:])
	if err != nil {
		panic(err) // the seed has 32 bytes: cannot happen
	}
	h.WriteString(purpose)
	out := make([]byte, n)
	h.Digest().Read(out)
	return out
}

// signsFor returns at least n sign bits; bit j is the sign of column j, 1 meaning
// minus. They are a stream: longer rows share the signs of shorter ones.
func (m *Maker) signsFor(n int) []uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	words := (n + 31) / 32
	if len(m.signs) < words {
		words = max(1024, 1<<bits.Len(uint(words-1)))
		raw := m.stream("signs", words*4)
		m.signs = make([]uint32, words)
		for i := range m.signs {
			m.signs[i] = binary.LittleEndian.Uint32(raw[i*4:])
		}
	}
	return m.signs
}

// hash is the keyed order of rows (splitmix64 finaliser, Steele et al. 2014).
func (m *Maker) hash(i int64) uint64 {
	z := uint64(i) + m.rank
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Sample returns the row numbers of the aligned sample of count rows, by rank:
// the n rows with the smallest keyed hash. The sample of a prefix of the rows is,
// as far as it reaches, a subset of the sample of all in the same order.
func (m *Maker) Sample(count int64, n int) []int64 {
	of := sampleOf{count, n}
	m.mu.Lock()
	known, ok := m.samples[of]
	m.mu.Unlock()
	if ok && n <= AlignedRows {
		return slices.Clone(known)
	}
	out := m.draw(count, n)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.samples == nil || len(m.samples) >= maxSamples {
		m.samples = make(map[sampleOf][]int64)
	}
	if n <= AlignedRows {
		m.samples[of] = slices.Clone(out)
	}
	return out
}

// draw makes a sample.
func (m *Maker) draw(count int64, n int) []int64 {
	type ranked struct {
		hash  uint64
		index int64
	}
	var best []ranked
	for i := range min(count, maxSampled) {
		h := m.hash(i)
		if len(best) == n && h >= best[n-1].hash {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, h, func(r ranked, h uint64) int {
			if r.hash < h {
				return -1
			}
			return 1
		})
		best = slices.Insert(best, at, ranked{h, i})
		best = best[:min(len(best), n)]
	}
	out := make([]int64, len(best))
	for i, r := range best {
		out[i] = r.index
	}
	return out
}

// buckets returns B for rows of n elements.
func buckets(n int64) int {
	if n >= 256 {
		return 256
	}
	return 64
}

// Orientation says how a matrix of rows x cols is sketched: along its rows, along
// its columns (transposed), or not at all.
func Orientation(rows, cols int64) (transposed, ok bool) {
	if cols >= MinLength && cols <= MaxLength && rows >= MinCount {
		return false, true
	}
	if cols < MinLength && cols >= MinCount && rows >= MinLength && rows <= maxTransposed/cols {
		return true, true
	}
	return false, false
}
