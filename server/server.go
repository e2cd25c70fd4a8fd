// Package server is the fleet's server: the registry of protected models, the
// intake of hits, and the console. One process on SQLite serves a site; several
// share one PostgreSQL.
package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"weightwarden/internal/api"
	"weightwarden/internal/durable"
	"weightwarden/internal/snapshot"
	"weightwarden/server/auth"
	"weightwarden/server/cases"
	"weightwarden/server/demodata"
	"weightwarden/server/export"
	"weightwarden/server/registry"
	"weightwarden/server/store"
	"weightwarden/server/ui"
)

// Config is what a server is told at the start.
type Config struct {
	DataDir     string   // keys, and the database where DatabaseURL is empty
	DatabaseURL string   // postgres://...
	Names       []string // host names and addresses for the server's certificate
	Version     string   // of the program
	Log         *slog.Logger
	Notice      io.Writer        // where the first start tells of the admin token
	Now         func() time.Time // nil: time.Now
	SessionLife time.Duration    // of the console, at most; 0: 12 hours
	SessionIdle time.Duration    // of the console, without doing anything; 0: 2 hours
	OIDC        *auth.OIDC       // nil: people have accounts here
	URL         string           // of this server as browsers see it, for passkeys; "": there are none
	TokenRate   float64          // requests a second that a token may make; 0: 50
}

// What a Config says by being empty.
const (
	defaultLife = 12 * time.Hour
	defaultIdle = 2 * time.Hour
	defaultRate = 50
	burst       = 500 // requests that a token may make at once
	underWay    = 16  // requests of one agent or token that are answered at a time: each may hold a body
	// maxParallelPasswords are hashed at a time, with 19 MiB each, on half of the
	// processors; the hits of agents have the rest. Others wait, or are sent away.
	maxParallelPasswords = 4
	waitingPasswords     = 64
)

// Server serves one database.
type Server struct {
	cfg       Config
	log       *slog.Logger
	store     *store.Store
	ca        *auth.CA
	signer    note.Signer
	verifier  string
	publisher *registry.Publisher
	console   *ui.Console
	playbook  *cases.Playbook
	metrics   *metrics
	limits    *auth.Limiter
	passwords *auth.Hasher
	passkeys  *auth.Passkeys // nil: none
	rates     *auth.Rates
	crowd     *auth.Crowd
	cert      atomic.Pointer[tls.Certificate]
	now       func() time.Time
}

// New opens the database and the keys, making both the first time.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Log, now: cfg.Now, limits: auth.NewLimiter(),
		passwords: auth.NewHasher(max(1, min(maxParallelPasswords, runtime.NumCPU()/2)), waitingPasswords), rates: auth.NewRates(cmp.Or(cfg.TokenRate, defaultRate), burst), crowd: auth.NewCrowd(underWay)}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	if s.ca, err = auth.LoadCA(cfg.DataDir, s.now()); err != nil {
		return nil, err
	}
	if err = s.loadSigner(); err != nil {
		return nil, err
	}
	s.store, err = store.Open(ctx, store.Config{Path: filepath.Join(cfg.DataDir, "server.db"), URL: cfg.DatabaseURL, Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	return s, nil
}

func (s *Server) prepare(ctx context.Context) error {
	if err := s.checkCA(ctx); err != nil {
		return err
	}
	s.publisher = &registry.Publisher{Store: s.store, Signer: s.signer, Dir: s.cfg.DataDir, Now: s.now}
	if err := s.publisher.Ensure(ctx); err != nil {
		return fmt.Errorf("publish the registry: %w", err)
	}
	if err := s.renewCert(); err != nil {
		return err
	}
	s.metrics = newMetrics(s.store)
	var err error
	if s.playbook, err = cases.PB53(); err != nil {
		return err
	}
	if s.console, err = ui.New(ui.Config{Store: s.store, Playbook: s.playbook, Sealer: s, Log: s.log, Version: s.cfg.Version, AuthFailed: s.metrics.authFailed, Passwords: s.passwords, Rates: s.rates, OIDC: s.cfg.OIDC, Passkeys: s.passkeys,
		Sessions: ui.Sessions{Life: cmp.Or(s.cfg.SessionLife, defaultLife), Idle: cmp.Or(s.cfg.SessionIdle, defaultIdle)}}); err != nil {
		return err
	}
	return s.firstToken(ctx)
}

// checkCA refuses a data folder that belongs to another database: its agents
// would find neither their server nor their snapshots.
func (s *Server) checkCA(ctx context.Context) error {
	pin := api.PinOf(s.ca.Cert).String()
	stored, err := s.store.Meta(ctx, "ca_pin")
	if errors.Is(err, store.ErrNotFound) {
		return s.store.SetMeta(ctx, "ca_pin", []byte(pin))
	}
	if err == nil && string(stored) != pin {
		err = fmt.Errorf("the database belongs to the CA %s, %q has %s: copy ca.pem, ca.key and snapshot.key of the first server there",
			stored, s.cfg.DataDir, pin)
	}
	return err
}

func (s *Server) loadSigner() error {
	path := filepath.Join(s.cfg.DataDir, "snapshot.key")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		skey, vkey, kerr := snapshot.NewKey("weightwarden")
		if kerr != nil {
			return kerr
		}
		text = []byte(skey + "\n" + vkey + "\n")
		err = durable.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return err
	}
	var skey string
	if _, err := fmt.Sscan(string(text), &skey, &s.verifier); err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	if s.signer, err = note.NewSigner(skey); err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	if s.cfg.URL != "" {
		if s.passkeys, err = auth.NewPasskeys(s.cfg.URL, []byte(skey)); err != nil {
			return err
		}
	}
	_, err = note.NewVerifier(s.verifier)
	return err
}

// firstToken makes the first administrator's token when there is no token yet.
func (s *Server) firstToken(ctx context.Context) error {
	tokens, err := s.store.Tokens(ctx)
	if err != nil || len(tokens) > 0 {
		return err
	}
	text, secret := auth.NewToken()
	path := filepath.Join(s.cfg.DataDir, "admin-token")
	if err := durable.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		return err
	}
	t := store.Token{Name: "first administrator", Roles: []string{auth.RoleAdmin, auth.RoleAnalyst, auth.RoleRegistrar}}
	if _, err := s.store.AddToken(ctx, store.ServerActor(), t, secret); err != nil {
		return err
	}
	fmt.Fprintf(s.cfg.Notice, "admin token: %s (mode 0600; it is shown nowhere else)\n", path)
	return nil
}

func (s *Server) renewCert() error {
	old := s.cert.Load()
	if old != nil && s.now().Before(old.Leaf.NotAfter.Add(-30*24*time.Hour)) {
		return nil
	}
	names := append([]string{"localhost", "127.0.0.1", "::1"}, s.cfg.Names...)
	if host, err := os.Hostname(); err == nil && host != "" {
		names = append(names, host)
	}
	cert, err := s.ca.IssueServer(names, s.now())
	if err == nil {
		s.cert.Store(cert)
	}
	return err
}

func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Browsers and programs have none; the routes of agents insist.
		ClientAuth: tls.VerifyClientCertIfGiven,
		ClientCAs:  s.ca.Pool(),
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.cert.Load(), nil
		},
	}
}

// Serve answers on l until ctx ends, then finishes what is under way.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute,
		WriteTimeout:      30 * time.Minute, // large snapshots on slow lines
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // handshakes that strangers break off
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	upkeep, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		wg.Go(func() { s.upkeep(upkeep) })
		wg.Go(func() { s.watchCases(upkeep) })
		sender := &export.Sender{Store: s.store, Log: s.log, Now: s.now}
		wg.Go(func() { sender.Run(upkeep) })
		wg.Wait()
	}()
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(tls.NewListener(l, s.tlsConfig())) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
		err = srv.Shutdown(grace)
		cancel()
	}
	stop()
	<-done
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// upkeep signs manifests anew, renews the server's certificate in time, sends
// checkpoints of the audit log out, and each hour deletes what is past its retention.
func (s *Server) upkeep(ctx context.Context) {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	purged := s.now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := errors.Join(s.publisher.Ensure(ctx), s.renewCert(), s.tellCheckpoint(ctx))
		if s.now().Sub(purged) > time.Hour {
			purged = s.now()
			_, perr := s.store.Purge(ctx, store.ServerActor(), purged)
			err = errors.Join(err, perr)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Error("upkeep", "error", err)
		}
	}
}

// Close ends the store. Call it after Serve.
func (s *Server) Close() error { return s.store.Close() }

// CA is the certificate that clients pin.
func (s *Server) CA() *x509.Certificate { return s.ca.Cert }

// FillDemo writes a made-up fortnight that ends at now. The server must have been
// made with the clock's Now.
func (s *Server) FillDemo(ctx context.Context, clock *demodata.Clock, now time.Time, force bool) error {
	return demodata.Fill(ctx, demodata.Target{Store: s.store, Publish: s.publisher.Publish, Clock: clock, Seed: 1}, now, force)
}
