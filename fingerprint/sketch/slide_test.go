package sketch

import (
	"math/rand/v2"
	"testing"
)

// The bits found for a place are those of the row that begins there.
func TestSlideAgreesWithRows(t *testing.T) {
	m := NewMaker(make([]byte, 32))
	rng := rand.New(rand.NewPCG(1, 1))
	for _, length := range []int{64, 100, 255, 256, 300, 1000, 4096} {
		values := make([]float32, slideBatch+700+length)
		for i := range values {
			values[i] = float32(rng.NormFloat64())
		}
		out := make([]uint32, slideBatch+700)
		m.Slide(out, values, length)
		same, all := 0, 0
		for o := 0; o < len(out); o += 37 {
			row, ok := m.RowOf(0, values[o:o+length])
			if !ok {
				t.Fatal("no row")
			}
			for b := range SlideBits {
				all++
				if row.Bits[0]>>b&1 == uint64(out[o]>>b&1) {
					same++
				}
			}
		}
		// The mean and the clipping, which Slide leaves out, turn a few bits over.
		if share := float64(same) / float64(all); share < .95 {
			t.Errorf("length %d: %.3f of the bits agree", length, share)
		}
	}
}

func BenchmarkSlide(b *testing.B) {
	m := NewMaker(make([]byte, 32))
	const length = 4096
	values, out := make([]float32, 1<<16+length), make([]uint32, 1<<16)
	for i := range values {
		values[i] = float32(i%17) - 8
	}
	for b.Loop() {
		m.Slide(out, values, length)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(out)), "ns/place")
}
