package uplink_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weightwarden/agent/agenttest"
	"weightwarden/agent/health"
	"weightwarden/agent/identity"
	"weightwarden/agent/spool"
	"weightwarden/agent/uplink"
	"weightwarden/internal/api"
)

// pipes is a network of one server in memory: time in a test bubble only passes
// where nobody waits for a real one.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	dials  atomic.Int64
	down   atomic.Bool
	mu     sync.Mutex
	open   []net.Conn
}

// cut takes the network away, with the connections that there are.
func (p *pipes) cut() {
	p.down.Store(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.dials.Add(1)
	if p.down.Load() {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.open = append(p.open, ours)
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8443} }

// TestWeekAway: the server is away for a week of simulated time, in which copies are
// found and places are not watched for a while, more of them than there is room to
// remember. Every hit is delivered once afterwards, gaps are told, those that are
// not are counted, and nobody hammers at the door meanwhile.
func TestWeekAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		network := newPipes()
		srv := agenttest.NewServerOn(t, network, 30*24*time.Hour)
		dir := t.TempDir()
		id, err := identity.EnrollThrough(ctx, network.Dial, dir, srv.HTTP.URL, srv.Token.String(), api.Host{Name: "h"}, "test")
		if err != nil {
			t.Fatal(err)
		}
		c, err := uplink.NewClient(id, "")
		if err != nil {
			t.Fatal(err)
		}
		c.DialWith(network.Dial)
		sp, err := spool.Open(dir, spool.Options{AgentID: id.AgentID, SegmentBytes: 16 << 10})
		if err != nil {
			t.Fatal(err)
		}
		defer sp.Close()
		var saved health.GapList
		gaps := health.NewGaps(saved, true, func(l health.GapList) { saved = l })
		var telling []api.Gap
		var mu sync.Mutex
		troubles := map[string]int{}
		done := make(chan struct{}, 3)
		run := func(f func()) {
			go func() {
				f()
				done <- struct{}{}
			}()
		}
		report := func(what string) func(error) {
			return func(err error) {
				if err != nil {
					mu.Lock()
					defer mu.Unlock()
					troubles[what]++
				}
			}
		}
		run(func() { c.Deliver(ctx, sp, report("hits")) })
		run(func() { c.Renew(ctx, id, report("certificate")) })
		run(func() {
			c.Heartbeat(ctx, 10*time.Minute, func() api.Heartbeat {
				telling = gaps.List()
				return api.Heartbeat{Spool: api.SpoolInfo{Lost: gaps.Evicted()}, Gaps: telling}
			}, func(api.HeartbeatAnswer) { gaps.Told(telling) }, report("heartbeat"))
		})
		time.Sleep(time.Hour)
		before := network.dials.Load()
		network.cut()
		c.Reconnect()

		const hours = 7 * 24
		hits, opened := 0, 0
		for range hours / 4 {
			hits++
			if _, err := sp.Append(api.Hit{Event: "write", Verdict: api.Verdict{Path: fmt.Sprint("/data/", hits)}}, nil); err != nil {
				t.Fatal(err)
			}
			for range 16 {
				opened++
				gaps.Open(fmt.Sprint("/data/", opened), "overflow", time.Now(), time.Now())
				gaps.Close(gaps.Pending()[0].ID, time.Now(), 1)
			}
			time.Sleep(4 * time.Hour)
		}
		if got, _ := srv.Hits(); len(got) != 0 {
			t.Errorf("%d hits at a server that is away", len(got))
		}
		// About a try a minute for hits, and one in ten minutes for heartbeats.
		if tries := network.dials.Load() - before; tries > 2*hours*60 {
			t.Errorf("%d tries in a week", tries)
		}
		mu.Lock()
		troubled := troubles["hits"] > 0 && troubles["heartbeat"] > 0
		mu.Unlock()
		if info := sp.Info(); info.Pending != int64(hits) || !troubled {
			t.Errorf("%d of %d hits wait; troubles %v", info.Pending, hits, troubles)
		}
		if saved.Evicted == 0 || saved.Evicted != gaps.Evicted() {
			t.Errorf("%d gaps evicted, %d saved: the test wants more gaps than there is room for", gaps.Evicted(), saved.Evicted)
		}

		network.down.Store(false)
		time.Sleep(2 * time.Hour)
		got, received := srv.Hits()
		if len(got) != hits || received != hits || sp.Info().Pending != 0 {
			t.Errorf("%d hits stored, %d received, %d wait, want all of %d once", len(got), received, sp.Info().Pending, hits)
		}
		told := map[string]bool{}
		beats := srv.Heartbeats()
		for _, b := range beats {
			for _, g := range b.Gaps {
				told[g.ID] = g.Closed != nil
			}
		}
		if lost := beats[len(beats)-1].Spool.Lost; uint64(len(told))+lost != uint64(opened) || lost != gaps.Evicted() {
			t.Errorf("%d gaps told and %d counted as forgotten, of %d", len(told), lost, opened)
		}
		cancel()
		for range cap(done) {
			<-done
		}
	})
}
