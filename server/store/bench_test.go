package store_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/store"
	"weightwarden/server/store/storetest"
)

// BenchmarkAddHits stores deliveries of five hits of a thousand agents, 64 at once,
// and says how long the slowest hundredth waited.
func BenchmarkAddHits(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { benchmarkAddHits(b, store.Config{Path: filepath.Join(b.TempDir(), "b.db")}) })
	b.Run("postgres", func(b *testing.B) {
		benchmarkAddHits(b, store.Config{URL: storetest.Database(b, storetest.Postgres(b), "bench")})
	})
}

func benchmarkAddHits(b *testing.B, cfg store.Config) {
	s := storetest.Open(b, cfg)
	var next atomic.Int64
	var mu sync.Mutex
	var waits []time.Duration
	b.ResetTimer()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				agent := fmt.Sprint("agent-", n%1000)
				hits := make([]api.Hit, 5)
				for i := range hits {
					hits[i] = hit(uint64(n)*5 + uint64(i))
					hits[i].AgentID, hits[i].Verdict.Path = agent, fmt.Sprintf("/media/usb/copy-%d-%d.bin", n, i)
				}
				began := time.Now()
				if _, err := s.AddHits(b.Context(), agent, hits, always(2)); err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				waits = append(waits, time.Since(began))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(waits[len(waits)-1].Microseconds())/1000, "max-ms")
	b.ReportMetric(5*float64(b.N)/b.Elapsed().Seconds(), "hits/s")
}
