// Package agent is the endpoint daemon: it watches, judges, records and reports.
// It wires the parts below it together and decides nothing that they decide.
//
//	watch -> scan (gate, settle, judge) -> report: spool, state -> uplink
//
// The order of writes gives the promise "no hit lost, none doubled": a hit is in
// the spool before the state store says that its file was judged, and at start
// the spool's hits are put into the state store again. A kill between the two
// leaves a hit that is known, and a kill before both leaves a file that the sweep
// at start judges again.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"weightwarden/agent/config"
	"weightwarden/agent/destination"
	"weightwarden/agent/enforce"
	"weightwarden/agent/health"
	"weightwarden/agent/identity"
	"weightwarden/agent/limits"
	"weightwarden/agent/notify"
	"weightwarden/agent/process"
	"weightwarden/agent/scan"
	"weightwarden/agent/spool"
	"weightwarden/agent/state"
	"weightwarden/agent/uplink"
	"weightwarden/agent/watch"
	"weightwarden/formats/keyfile"
	"weightwarden/internal/api"
)

// Deps are what the program gives to the agent.
type Deps struct {
	// OpenRegistry makes a judge of a registry file.
	OpenRegistry func(ctx context.Context, path string) (api.Judge, error)
	// Parsing starts a confined child that reads nothing and names the restrictions
	// that hold for it; an error says that files are not read, or not confined. Nil:
	// the judge reads no structure.
	Parsing func(ctx context.Context) ([]string, error)
	Own     []string  // program and configuration file: changes of them are said
	Out     io.Writer // HIT and CLEAR lines
	Log     *slog.Logger
	Version string
}

// Agent is one running agent.
type Agent struct {
	cfg      config.Config
	deps     Deps
	host     api.Host
	started  time.Time
	id       *identity.Identity // nil: not enrolled
	client   *uplink.Client     // nil: not enrolled
	snaps    *uplink.Snapshots  // nil: not enrolled, or a local registry
	spool    *spool.Spool
	store    *state.Store
	board    *health.Board
	pulses   *health.Pulses
	gaps     *health.Gaps
	gapBox   *gapBox
	watchMu  sync.Mutex
	watcher  watch.Watcher // through currentWatcher
	scanner  *scan.Scanner
	procs    *processes
	egress   *egress
	places   destination.Classifier
	filter   watch.Filter
	registry atomic.Pointer[loaded]
	fetch    chan struct{} // asks for a snapshot
	users    users
	redactor *process.Redactor
	exes     *process.Programs

	rules      atomic.Pointer[enforce.Rules]
	quarantine *enforce.Quarantine
	guard      atomic.Pointer[enforce.Guard] // nil: nothing is held up
	policies   *uplink.Policies              // nil: not enrolled
	policy     atomic.Int64                  // version in force
	revision   revision                      // of the server's policies: told, and asked for
	out        sync.Mutex
	damage     sync.Mutex   // one looks at what was found damaged
	contact    atomic.Int64 // unix nanoseconds of the last answer
	telling    []api.Gap    // of the heartbeat on its way; of the goroutine that sends them
	over       []api.Health // the same
	sweeping   atomic.Int32
	parsing    atomic.Pointer[string] // how files are read
}

// loaded is the registry in force.
type loaded struct {
	scan.Registry
	file    string
	expires time.Time
}

// New opens everything that lies on disk.
func New(cfg config.Config, deps Deps) (*Agent, error) {
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, deps: deps, started: time.Now().UTC(), board: health.NewBoard(), pulses: health.NewPulses(), fetch: make(chan struct{}, 1),
		redactor: process.NewRedactor(), exes: process.NewPrograms("/proc"), gapBox: newGapBox(), host: hostFacts(), revision: newRevision(), places: destination.Classifier{Cloud: cfg.Cloud}}
	a.rules.Store(new(rulesOf(cfg.Enforce, nil)))
	a.quarantine = enforce.NewQuarantine(cfg.StateDir, cfg.Enforce.QuarantineDir)
	a.filter = watch.Filter{Exclude: append(append([]string{}, cfg.Watch.Exclude...), cfg.StateDir)}
	var err error
	if a.id, err = identity.Load(cfg.StateDir); err != nil && !errors.Is(err, identity.ErrNotEnrolled) {
		return nil, err
	}
	if a.store, err = state.Open(filepath.Join(cfg.StateDir, "files.db")); err != nil {
		return nil, err
	}
	if err := a.openRest(); err != nil {
		a.store.Close()
		return nil, err
	}
	return a, nil
}

func (a *Agent) openRest() error {
	var err error
	opts := spool.Options{}
	if a.id != nil {
		opts.AgentID = a.id.AgentID
		if a.client, err = uplink.NewClient(a.id, a.cfg.Server); err != nil {
			return err
		}
		if a.policies, err = uplink.NewPolicies(a.client, a.cfg.StateDir, a.id.SnapshotKey); err != nil {
			return err
		}
		if a.cfg.Registry == "" {
			a.snaps, err = uplink.NewSnapshots(a.client, filepath.Join(a.cfg.StateDir, "snapshot"), a.id.SnapshotKey)
			if err != nil {
				return err
			}
		}
	}
	if a.spool, err = spool.Open(filepath.Join(a.cfg.StateDir, "spool"), opts); err != nil {
		return err
	}
	var saved health.GapList
	a.store.Meta("gap-list", &saved)
	a.gaps = health.NewGaps(saved, a.id != nil, func(list health.GapList) { a.saved(a.store.SetMeta("gap-list", list)) })
	return a.recover()
}

// saved takes the outcome of a write to the state store. What it could not write it
// keeps in memory; that is said until it can.
func (a *Agent) saved(err error) {
	switch {
	case err == nil:
		if a.board.Clear("state.write") {
			a.deps.Log.Info("the state store takes entries again")
		}
	case a.board.Set("state.write", health.Error, err.Error()):
		a.deps.Log.Error("state", "error", err)
	}
}

// recover brings the state store up to what the spool holds, and says what was
// found damaged.
func (a *Agent) recover() error {
	a.sayDamage()
	return a.recall()
}

// recall puts the hits of the spool into the state store.
func (a *Agent) recall() error {
	err := a.spool.Each(a.remember)
	a.saved(a.store.Flush())
	return err
}

// sayDamage says what was found damaged since it last looked. The files of hits
// that are gone are judged and reported again.
func (a *Agent) sayDamage() {
	a.damage.Lock()
	defer a.damage.Unlock()
	if aside := a.store.Aside(); aside != "" {
		a.deps.Log.Error("state store damaged; every file is read again", "kept", aside)
		a.board.Set("state.damaged", health.Warning, "the state store was damaged and moved to "+aside)
		if err := a.recall(); err != nil {
			a.deps.Log.Error("spool", "error", err)
		}
		a.sweepAll("state")
	}
	lost := map[uint64]bool{}
	for _, d := range a.spool.Damages() {
		a.deps.Log.Error("spool damaged", "segment", d.Segment, "what", d.Text, "kept", d.Kept)
		a.board.Set("spool.damaged", health.Error, fmt.Sprintf("%s: %s", d.Segment, d.Text))
		for _, seq := range d.Lost {
			lost[seq] = true
		}
	}
	if len(lost) == 0 {
		return
	}
	epoch := a.spool.Epoch()
	_, err := a.store.Forget(func(_ state.Key, e state.Entry) bool { return e.Epoch == epoch && lost[e.Seq] })
	a.saved(err)
	a.sweepAll("spool")
}

// sweepAll has every watched place looked at, whatever the age of its files.
func (a *Agent) sweepAll(cause string) {
	for _, root := range a.cfg.Watch.Paths {
		a.gaps.Open(filepath.Clean(root), cause, time.Now(), time.Now())
	}
}

// Run works until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	defer a.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.loadRegistry(ctx)
	a.procs = newProcesses(ctx, a.cfg, a.deps.Log)
	a.lowPriority()
	opts := a.scanOptions()
	var err error
	if a.watcher, err = a.openWatcher(); err != nil {
		return err
	}
	a.egress = newEgress(a.openOpens())
	a.loadPolicy()
	a.scanner = scan.New(ctx, a.scanDeps(), opts)
	a.recoverQuarantine(ctx)
	a.blindWindow()
	var wg sync.WaitGroup
	start := func(f func(context.Context)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			f(ctx)
		}()
	}
	start(func(ctx context.Context) { a.pump(ctx, a.currentWatcher()) })
	start(a.keepCanary)
	start(func(ctx context.Context) { a.spare(ctx, opts.Events, opts.Sweeps) })
	start(func(ctx context.Context) { notify.Run(ctx, a.progress) })
	start(a.noteGaps)
	start(a.sweeper)
	start(a.clock)
	start(a.serveLocal)
	if a.egress.watcher != nil {
		start(a.followOpens)
	}
	a.openGuard(ctx)
	start(a.followRegistry)
	start(a.checkParsing)
	start(a.followOwn)
	start(a.watchLoops)
	if a.client != nil {
		start(func(ctx context.Context) { a.client.Deliver(ctx, a.spool, a.delivered) })
		start(func(ctx context.Context) {
			a.client.Heartbeat(ctx, time.Duration(a.cfg.Uplink.Heartbeat), a.heartbeat, a.answered, a.trouble("uplink.heartbeat"))
		})
		start(a.followPolicy)
		start(func(ctx context.Context) { a.client.Renew(ctx, a.id, a.trouble("uplink.certificate")) })
	}
	a.deps.Log.Info("watching", "places", a.watchSummary(), "enrolled", a.id != nil)
	<-ctx.Done()
	a.currentWatcher().Close()
	if a.egress.watcher != nil {
		a.egress.watcher.Close()
	}
	a.openGuardWith(ctx, nil) // nobody waits for an answer while the rest ends
	wg.Wait()
	a.openGuardWith(ctx, nil) // a policy may have come meanwhile
	a.scanner.Wait()
	a.saveAlive()
	return nil
}

// lowPriority stands back behind people's work.
func (a *Agent) lowPriority() {
	debug.SetMemoryLimit(int64(a.cfg.Limits.MemoryBytes))
	if !a.cfg.Limits.IdleIO {
		return
	}
	if err := limits.Background(); err != nil {
		a.deps.Log.Info("running at normal priority", "why", err)
	}
}

// progress is whether the parts of the agent answer: the service manager restarts
// one that hangs.
func (a *Agent) progress() (status string, ok bool) {
	s := a.status()
	late := a.pulses.Late()
	return fmt.Sprintf("%s; %d hits, %d wait for the server, epoch %d", s.State, s.Files.Hits, s.Spool.Pending, s.Snapshot.Epoch), len(late) == 0
}

func (a *Agent) close() {
	if err := errors.Join(a.spool.Close(), a.store.Close()); err != nil {
		a.deps.Log.Error("close", "error", err)
	}
}

func (a *Agent) scanDeps() scan.Deps {
	return scan.Deps{
		Registry: func() scan.Registry {
			if l := a.registry.Load(); l != nil {
				return l.Registry
			}
			return scan.Registry{}
		},
		Store: a.store, Who: a.procs.tracker, Report: a.report, Gap: a.gapBox.put,
		Beat: func() { a.pulses.Beat("the waiting room of files", beatWithin) },
		Log:  func(format string, args ...any) { a.deps.Log.Warn(fmt.Sprintf(format, args...)) },
	}
}

func (a *Agent) scanOptions() scan.Options {
	l := a.cfg.Limits
	return scan.Options{
		MinSize: int64(a.cfg.Files.MinSize), Small: keyfile.Opaque, Quiet: time.Duration(a.cfg.Settle.Quiet), MaxWait: time.Duration(a.cfg.Settle.MaxWait),
		Workers: l.Workers, Queue: l.Queue, QuickAbove: int64(l.QuickAbove),
		Events: rate.NewLimiter(rate.Limit(l.BytesPerSecond), int(l.BytesPerSecond)/4+1),
		Sweeps: rate.NewLimiter(rate.Limit(l.SweepPerSecond), int(l.SweepPerSecond)/4+1),
	}
}

// trouble returns a reporter for one condition on the board: nil clears it.
func (a *Agent) trouble(code string) func(error) {
	return func(err error) {
		if err == nil {
			a.contact.Store(time.Now().UnixNano())
			if a.board.Clear(code) {
				a.deps.Log.Info("works again", "what", code)
			}
			return
		}
		if a.board.Set(code, health.Warning, err.Error()) {
			a.deps.Log.Warn("trouble", "what", code, "error", err)
		}
	}
}

// pump moves events into the scanner, until the watcher ends.
func (a *Agent) pump(ctx context.Context, w watch.Watcher) {
	events, gaps := w.Events(), w.Gaps()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	loop := fmt.Sprintf("the pump of %T %p", w, w)
	a.pulses.Beat(loop, beatWithin)
	defer a.pulses.End(loop)
	for events != nil || gaps != nil {
		select {
		case ev, ok := <-events:
			switch {
			case !ok:
				events = nil
			case ev.Folder:
				a.folderMoved(ev)
			case ev.Op == watch.Device:
				go a.deviceWritten(ctx, ev) // rare; a full disk would hold up the pump
			default:
				a.scanner.Submit(ev)
			}
		case g, ok := <-gaps:
			if !ok {
				gaps = nil
				continue
			}
			a.gapBox.put(g)
		case <-beat.C:
			a.pulses.Beat(loop, beatWithin)
		case <-ctx.Done():
			return
		}
	}
}

// folderMoved looks again at the copies known below a folder that has another
// name now.
func (a *Agent) folderMoved(ev watch.Event) {
	var moved []watch.Event
	err := a.store.Each(func(_ state.Key, e state.Entry) {
		if e.Seq > 0 && ev.OldPath != "" && watch.Within(e.Path, ev.OldPath) {
			moved = append(moved, watch.Event{Op: watch.Rename, Path: ev.Path + e.Path[len(ev.OldPath):], OldPath: e.Path, PID: ev.PID, At: ev.At})
		}
	})
	if err != nil {
		a.deps.Log.Error("state", "error", err)
	}
	for _, m := range moved {
		a.scanner.Submit(m)
	}
}

func (a *Agent) currentWatcher() watch.Watcher {
	a.watchMu.Lock()
	defer a.watchMu.Unlock()
	return a.watcher
}

// rebuildWatcher replaces a watcher that went blind, and has everything since
// swept.
func (a *Agent) rebuildWatcher(ctx context.Context, blind time.Duration) {
	next, err := a.openWatcher()
	if err != nil {
		a.deps.Log.Error("watch", "error", err)
		return
	}
	a.watchMu.Lock()
	old := a.watcher
	a.watcher = next
	a.watchMu.Unlock()
	go a.pump(ctx, next)
	if err := old.Close(); err != nil {
		a.deps.Log.Warn("the old watcher", "error", err)
	}
	for _, root := range a.cfg.Watch.Paths {
		a.gapBox.put(watch.Gap{Path: root, From: time.Now().Add(-2 * blind), Cause: "blind", Text: "the watcher was silent"})
	}
}

func hostFacts() api.Host {
	h := process.HostFacts()
	if h.Name == "" {
		h.Name, _ = os.Hostname() // a host without a name has none
	}
	if b, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil && len(b) >= 36 {
		h.BootID = string(b[:36])
	}
	return h
}
