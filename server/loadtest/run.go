package loadtest

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weightwarden/internal/api"
)

// Config says what to simulate.
type Config struct {
	Servers  []string // URLs; agents take turns
	CA       []byte   // PEM
	Token    string   // of an administrator who also reads hits
	Agents   int
	Rate     int // hits a second, of the whole fleet
	Batch    int // hits of one delivery
	Duration time.Duration
	Beat     time.Duration // time between two heartbeats of an agent
	Progress func(string)
}

// Report is what was measured.
type Report struct {
	SchemaVersion  int     `json:"schema_version"`
	Agents         int     `json:"agents"`
	EnrolSeconds   float64 `json:"enrol_seconds"`
	EnrolPerSecond float64 `json:"enrol_per_second"`
	Seconds        float64 `json:"seconds"`
	Hits           int64   `json:"hits_acknowledged"`
	HitsPerSecond  float64 `json:"hits_per_second"`
	P50            float64 `json:"ack_p50_ms"`
	P95            float64 `json:"ack_p95_ms"`
	P99            float64 `json:"ack_p99_ms"`
	Max            float64 `json:"ack_max_ms"`
	Heartbeats     int64   `json:"heartbeats"`
	Retries        int64   `json:"retries"`
	Stored         int64   `json:"hits_stored"`
	Missing        int64   `json:"hits_missing"`
	Doubled        int64   `json:"hits_doubled"`
}

type run struct {
	cfg        Config
	pool       *x509.CertPool
	admin      *http.Client
	label      string // host prefix, user and epoch of this run
	enrolToken string
	turn       atomic.Uint64
	retries    atomic.Int64
	beats      atomic.Int64
	agents     []*simulated

	mu  sync.Mutex
	ack []time.Duration
	err error
}

func (r *run) server() string { return r.cfg.Servers[r.turn.Add(1)%uint64(len(r.cfg.Servers))] }

// Run simulates a fleet and returns what it measured. The error says why the
// simulation itself could not go on; lost hits are in the report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	r := &run{cfg: cfg, pool: x509.NewCertPool(), label: fmt.Sprintf("load%x", time.Now().UnixMilli())}
	if !r.pool.AppendCertsFromPEM(cfg.CA) {
		return nil, errors.New("the CA is no PEM certificate")
	}
	r.admin = r.newTransport(nil)
	var tok api.TokenAnswer
	err := r.post(ctx, r.admin, cfg.Token, api.PathEnrolTokens, api.EnrolTokenRequest{Name: "load test " + r.label, Uses: int64(cfg.Agents)}, &tok)
	if err != nil {
		return nil, err
	}
	r.enrolToken = tok.Token
	rep := &Report{SchemaVersion: api.SchemaVersion, Agents: cfg.Agents}
	began := time.Now()
	if err := r.enrolAll(ctx); err != nil {
		return nil, err
	}
	rep.EnrolSeconds = time.Since(began).Seconds()
	rep.EnrolPerSecond = float64(cfg.Agents) / rep.EnrolSeconds
	cfg.Progress(fmt.Sprintf("%d agents enrolled in %.1f s", cfg.Agents, rep.EnrolSeconds))
	began = time.Now()
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	rep.Seconds = time.Since(began).Seconds()
	r.summarise(rep)
	cfg.Progress(fmt.Sprintf("%d hits acknowledged; counting what is stored", rep.Hits))
	return rep, r.count(ctx, rep)
}

func (r *run) enrolAll(ctx context.Context) error {
	r.agents = make([]*simulated, r.cfg.Agents)
	errs := make([]error, 16)
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= r.cfg.Agents || errs[w] != nil {
					return
				}
				r.agents[n], errs[w] = r.enrol(ctx, n)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// workers is how many deliveries may be under way at once.
const workers = 256

// load sends heartbeats and hits on schedule and returns when all are answered.
func (r *run) load(ctx context.Context) error {
	if err := r.onSchedule(ctx); err != nil {
		return err
	}
	return r.err
}

func (r *run) onSchedule(ctx context.Context) error {
	jobs := make(chan func(), workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for job := range jobs {
				job()
			}
		})
	}
	began := time.Now()
	hits := pace{began, time.Second * time.Duration(r.cfg.Batch) / time.Duration(r.cfg.Rate), 0}
	beats := pace{began, max(r.cfg.Beat/time.Duration(r.cfg.Agents), time.Microsecond), 0}
	defer wg.Wait()
	defer close(jobs)
	for {
		due, kind := hits.due(), &hits
		if beats.due().Before(due) {
			due, kind = beats.due(), &beats
		}
		if due.Sub(began) >= r.cfg.Duration {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(due)):
		}
		a := r.agents[kind.n*7919%len(r.agents)] // prime to most fleets: successive requests come from agents far apart
		kind.n++
		job := func() { r.beat(ctx, a) }
		if kind == &hits {
			job = func() { r.deliver(ctx, a, due) }
		}
		jobs <- job
	}
}

// pace is a schedule that what is late does not move: a server that stalls has to
// catch up, as it must with a real fleet, and its delay is in the figures.
type pace struct {
	began time.Time
	every time.Duration
	n     int
}

func (p pace) due() time.Time { return p.began.Add(time.Duration(p.n) * p.every) }

func (r *run) beat(ctx context.Context, a *simulated) {
	if err := r.heartbeat(ctx, a); err != nil {
		r.retries.Add(1) // the next one comes in time
		return
	}
	r.beats.Add(1)
}

// deliver sends hits that were due at a time, and notes how long after it they were
// acknowledged, with all that they had to wait for.
func (r *run) deliver(ctx context.Context, a *simulated, due time.Time) {
	err := r.hits(ctx, a, r.cfg.Batch)
	took := time.Since(due)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.err = errors.Join(r.err, err)
		return
	}
	r.ack = append(r.ack, took)
}

func (r *run) summarise(rep *Report) {
	for _, a := range r.agents {
		rep.Hits += int64(a.next - 1)
	}
	rep.HitsPerSecond = float64(rep.Hits) / rep.Seconds
	rep.Heartbeats, rep.Retries = r.beats.Load(), r.retries.Load()
	slices.Sort(r.ack)
	at := func(share float64) float64 {
		if len(r.ack) == 0 {
			return 0
		}
		return float64(r.ack[int(share*float64(len(r.ack)-1))].Microseconds()) / 1000
	}
	rep.P50, rep.P95, rep.P99, rep.Max = at(0.5), at(0.95), at(0.99), at(1)
}

// count reads every stored hit of this run and compares with what was acknowledged.
func (r *run) count(ctx context.Context, rep *Report) error {
	stored := map[string]map[string]int{} // agent -> path -> times
	query := url.Values{"user": {r.label}, "limit": {"1000"}}
	for {
		var page api.List[api.HitInfo]
		err := r.send(ctx, r.admin, http.MethodGet, r.cfg.Token, api.PathHitList+"?"+query.Encode(), nil, &page)
		if errors.Is(err, errTooMany) && ctx.Err() == nil {
			time.Sleep(time.Second)
			continue
		}
		if err != nil {
			return err
		}
		for _, h := range page.Items {
			if stored[h.Agent] == nil {
				stored[h.Agent] = map[string]int{}
			}
			stored[h.Agent][h.Path]++
			rep.Stored++
		}
		if page.Next == "" {
			break
		}
		query.Set("after", page.Next)
	}
	for _, a := range r.agents {
		for seq := uint64(1); seq < a.next; seq++ {
			switch n := stored[a.id][fmt.Sprintf("/media/usb/copy-%d.bin", seq)]; {
			case n == 0:
				rep.Missing++
			case n > 1:
				rep.Doubled++
			}
		}
	}
	return nil
}
