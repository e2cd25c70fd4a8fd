package server

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	apidoc "weightwarden/docs/api"
	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

func remoteOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// health says that the process runs.
func (s *Server) health(w http.ResponseWriter, _ *http.Request, _ *auth.Principal) error {
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "version": s.cfg.Version})
}

// ready says that the database answers, so that a balancer may send requests here.
func (s *Server) ready(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	if err := s.store.Ping(r.Context()); err != nil {
		s.log.Error("database does not answer", "error", err)
		return &problem{status: http.StatusServiceUnavailable, detail: "the database does not answer", retryAfter: 5}
	}
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ready", "engine": s.store.Engine()})
}

func (s *Server) getOpenAPI(w http.ResponseWriter, _ *http.Request, _ *auth.Principal) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(apidoc.OpenAPI()) // the client may be gone
	return nil
}

func (s *Server) getMetrics(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	s.metrics.handler.ServeHTTP(w, r)
	return nil
}

// metrics are for Prometheus; labels have few values each.
type metrics struct {
	handler  http.Handler
	hits     *prometheus.CounterVec
	repeated prometheus.Counter
	rejected prometheus.Counter
	requests *prometheus.HistogramVec
	problems *prometheus.CounterVec
	authFail *prometheus.CounterVec
}

func newMetrics(st *store.Store) *metrics {
	const ns = "weightwarden"
	m := &metrics{
		hits: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Name: "hits_total", Help: "Hits stored, by verdict and class of destination."},
			[]string{"verdict", "destination"}),
		repeated: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: "hits_repeated_total", Help: "Hits delivered again that were there already."}),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: "hits_rejected_total", Help: "Malformed hits refused for good."}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: ns, Name: "request_seconds", Help: "Time to answer, by route.",
			Buckets: []float64{.001, .005, .02, .05, .1, .2, .5, 1, 5}}, []string{"route"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Name: "request_problems_total", Help: "Requests refused or failed, by route and status."},
			[]string{"route", "status"}),
		authFail: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Name: "auth_failures_total", Help: "Callers that could not show who they are."}, []string{"kind"}),
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(m.hits, m.repeated, m.rejected, m.requests, m.problems, m.authFail, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &gauges{store: st})
	m.handler = promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	return m
}

func (m *metrics) hitsStored(hits []api.Hit, added int) {
	for i := range hits {
		m.hits.WithLabelValues(string(hits[i].Verdict.Verdict), destinationLabel(hits[i].Destination.Class)).Inc()
	}
	m.repeated.Add(float64(len(hits) - added))
}

// destinationLabel keeps what agents send from making labels without end.
func destinationLabel(class string) string {
	switch class {
	case "fixed", "removable", "network", "cloud_sync", "fuse_remote", "container", "image", "ram", "archive", "git_remote", "download":
		return class
	}
	return "unknown"
}

func (m *metrics) hitRejected()           { m.rejected.Inc() }
func (m *metrics) authFailed(kind string) { m.authFail.WithLabelValues(kind).Inc() }
func (m *metrics) served(route string, d time.Duration) {
	m.requests.WithLabelValues(route).Observe(d.Seconds())
}

func (m *metrics) refused(route string, status int) {
	m.problems.WithLabelValues(route, strconv.Itoa(status)).Inc()
}

// gauges are read from the database when they are asked for.
type gauges struct{ store *store.Store }

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("weightwarden_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector; it promises nothing, so that a
// database that is away does not stop the server.
func (g *gauges) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if snap, err := g.store.LatestSnapshot(ctx); err == nil {
		out <- prometheus.MustNewConstMetric(gauge("registry_epoch", "Newest epoch of the registry."), prometheus.GaugeValue, float64(snap.Epoch))
		out <- prometheus.MustNewConstMetric(gauge("registry_expiry_seconds", "Time until the newest manifest expires."), prometheus.GaugeValue, time.Until(snap.Expires).Seconds())
	}
	if counts, err := g.store.AlertCounts(ctx); err == nil {
		for severity := store.SeverityCritical; severity <= store.SeverityLow; severity++ {
			out <- prometheus.MustNewConstMetric(gauge("alerts_active", "Alerts that are not closed, by severity (1 critical).", "severity"), prometheus.GaugeValue,
				float64(counts[severity]), strconv.Itoa(severity))
		}
	}
	g.work(ctx, out)
	fleet, err := g.store.Fleet(ctx)
	if err != nil {
		return
	}
	for state, n := range map[string]int64{"active": fleet.Active, "silent": fleet.Silent, "revoked": fleet.Revoked, "cloned": fleet.Cloned} {
		out <- prometheus.MustNewConstMetric(gauge("agents", "Agents by state; silent: active, but not heard for 10 minutes.", "state"), prometheus.GaugeValue, float64(n), state)
	}
	out <- prometheus.MustNewConstMetric(gauge("agents_refusing_registry", "Agents that refuse the registry they are offered."), prometheus.GaugeValue, float64(fleet.Refusing))
	out <- prometheus.MustNewConstMetric(gauge("agents_pending_hits", "Hits that wait on agents."), prometheus.GaugeValue, float64(fleet.Pending))
	out <- prometheus.MustNewConstMetric(gauge("agents_lost_events", "Telemetry that agents had to drop."), prometheus.GaugeValue, float64(fleet.Lost))
	out <- prometheus.MustNewConstMetric(gauge("agents_open_gaps", "Times and places that were not watched and not made up for."), prometheus.GaugeValue, float64(fleet.Gaps))
}

// work is what waits: cases with their clocks, messages, the audit log. Restricted
// cases are not counted: whoever reads metrics is not among their members.
func (g *gauges) work(ctx context.Context, out chan<- prometheus.Metric) {
	if open, late, err := g.store.CaseCounts(ctx, store.Actor{}); err == nil {
		for severity := store.SeverityCritical; severity <= store.SeverityLow; severity++ {
			name := strconv.Itoa(severity)
			out <- prometheus.MustNewConstMetric(gauge("cases_open", "Open cases by severity, without restricted ones.", "severity"), prometheus.GaugeValue, float64(open[severity]), name)
			out <- prometheus.MustNewConstMetric(gauge("cases_late", "Open cases with a clock that ran out, by severity.", "severity"), prometheus.GaugeValue, float64(late[severity]), name)
		}
	}
	if waiting, oldest, err := g.store.OutboxState(ctx); err == nil {
		out <- prometheus.MustNewConstMetric(gauge("outbox_waiting", "Messages that are not delivered yet."), prometheus.GaugeValue, float64(waiting))
		out <- prometheus.MustNewConstMetric(gauge("outbox_oldest_seconds", "Age of the oldest message that is not delivered; 0 without one."), prometheus.GaugeValue, oldest.Seconds())
	}
	if n, err := g.store.AuditSize(ctx); err == nil {
		out <- prometheus.MustNewConstMetric(gauge("audit_entries", "Entries of the audit log."), prometheus.GaugeValue, float64(n))
	}
}
