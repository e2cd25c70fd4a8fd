package scan

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"weightwarden/agent/state"
	"weightwarden/agent/watch"
	"weightwarden/internal/api"
)

// work judges the files of events.
func (s *Scanner) work(ctx context.Context) {
	defer s.done.Done()
	for {
		select {
		case <-ctx.Done():
			return
		case it := <-s.events:
			s.urgent.Add(1)
			it.urgent = true
			s.process(ctx, it)
			s.urgent.Add(-1)
		}
	}
}

// sweepWork judges the files of sweeps, beside those of events, so that an event
// never waits for the end of a file that is swept.
func (s *Scanner) sweepWork(ctx context.Context) {
	defer s.done.Done()
	for {
		select {
		case <-ctx.Done():
			return
		case it := <-s.sweeps:
			s.process(ctx, it)
		}
	}
}

// yieldMost is how long one read stands back at the most: where events never end,
// the rest still goes on.
const yieldMost = 250 * time.Millisecond

// yield waits while files of events are judged. They read little, by samples, and
// somebody waits for what they say; reads of megabytes in between would take the
// bytes of a second that they are allowed.
func (s *Scanner) yield(ctx context.Context) {
	for end := time.Now().Add(yieldMost); s.urgent.Load() > 0 && ctx.Err() == nil && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
}

// process judges one file and reports the outcome.
func (s *Scanner) process(ctx context.Context, it *item) {
	defer it.close()
	reg, err := s.registry(ctx)
	if err != nil {
		return // shutting down; the sweep at start finds the file again
	}
	info, err := Stat(it.file)
	if err != nil {
		s.unreadable(it.ev.Path, err)
		return
	}
	it.info = info
	if e, ok := s.deps.Store.Get(info.Key); ok {
		it.previous = &e
		if Unchanged(e, info.Stamp, reg.Epoch) && !s.movedHit(it, e) {
			s.Count.Unchanged.Add(1)
			return
		}
	}
	quick := info.Stamp.Size > s.opts.QuickAbove
	out, again, err := s.judge(ctx, it, reg, quick)
	if err != nil || again {
		s.retry(ctx, it, err)
		return
	}
	if !s.report(ctx, it, out) {
		return
	}
	s.links(ctx, it, out)
	if quick {
		s.deepen(ctx, it, reg, out)
	}
}

// deep is a file that was judged by samples and is to be read in whole.
type deep struct {
	it    *item
	reg   Registry
	quick Outcome
}

// deepen hands a file to the reader of whole files, so that the next file need
// not wait for it; where too many wait already it is read here.
func (s *Scanner) deepen(ctx context.Context, it *item, reg Registry, quick Outcome) {
	own := *it
	own.urgent = false
	it.file = nil // now owned by own
	quick.File = own.file
	s.reading.Add(1)
	select {
	case s.deeps <- deep{&own, reg, quick}:
	default:
		defer s.reading.Add(-1)
		own.urgent = it.urgent // it is read in its place
		s.full(ctx, &own, reg, quick)
		own.close()
	}
}

// readWhole reads files in whole that were judged by samples.
func (s *Scanner) readWhole(ctx context.Context) {
	defer s.done.Done()
	for {
		select {
		case <-ctx.Done():
			for {
				select {
				case d := <-s.deeps:
					d.it.close()
				default:
					return
				}
			}
		case d := <-s.deeps:
			s.full(ctx, d.it, d.reg, d.quick)
			d.it.close()
			s.reading.Add(-1)
		}
	}
}

// links reports the further names of a copy that came while it settled.
func (s *Scanner) links(ctx context.Context, it *item, out Outcome) {
	if !out.Verdict.Verdict.IsHit() || out.Info.Links < 2 {
		return
	}
	told := map[string]bool{out.Path: true}
	for _, ev := range append(it.also, it.ev) {
		if told[ev.Path] || !sameFile(ev.Path, out.Info) {
			continue
		}
		told[ev.Path] = true
		link, verdict := out, *out.Verdict
		verdict.Path = ev.Path
		link.Verdict, link.Op, link.OldPath, link.Path = &verdict, watch.Link, out.Path, ev.Path
		if ev.PID != 0 {
			link.Process, link.ProcessNote = s.deps.Who.Who(it.info.ID, ev.Path, ev.PID, ev.At)
		}
		s.report(ctx, it, link)
	}
}

// Unchanged reports whether an entry still speaks for a file.
func Unchanged(e state.Entry, now state.Stamp, epoch int64) bool {
	return e.Stamp == now && e.Snapshot == epoch
}

// movedHit reports whether a reported copy has a new name.
func (s *Scanner) movedHit(it *item, e state.Entry) bool {
	if e.Seq == 0 || it.ev.Op == watch.Open {
		return false
	}
	path, deleted := currentPath(it.file)
	return !deleted && !e.HasName(path)
}

// registry waits until there is something to judge with.
func (s *Scanner) registry(ctx context.Context) (Registry, error) {
	for {
		if r := s.deps.Registry(); r.Judge != nil {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return Registry{}, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// judge returns the outcome, or that the file changed under the reader.
func (s *Scanner) judge(ctx context.Context, it *item, reg Registry, quick bool) (Outcome, bool, error) {
	limiter := s.opts.Events
	if it.sweep {
		limiter = s.opts.Sweeps
	}
	yield := s.yield
	if it.urgent {
		yield = nil
	}
	at, _ := currentPath(it.file)
	if at == "" {
		at = it.ev.Path
	}
	if !quick && !it.active {
		var stop func()
		ctx, stop = whileSame(ctx, it.file, it.info.Stamp)
		defer stop()
	}
	file, done, err := openSource(ctx, it.file, at, limiter, &s.Count, yield)
	if err != nil {
		return Outcome{}, false, err
	}
	verdict, err := reg.Judge.Judge(ctx, file, quick)
	if cerr := done(); err == nil {
		err = cerr
	}
	if errors.Is(context.Cause(ctx), errChanged) {
		return Outcome{}, true, nil
	}
	if err != nil {
		return Outcome{}, false, err
	}
	after, err := Stat(it.file)
	if err != nil {
		return Outcome{}, false, err
	}
	if after.Stamp.Size != it.info.Stamp.Size || after.Stamp.Mtime != it.info.Stamp.Mtime {
		it.info = after
		if !it.active {
			return Outcome{}, true, nil
		}
	}
	it.info = after
	path, deleted := currentPath(it.file)
	if path == "" {
		path = it.ev.Path
	}
	out := Outcome{Op: it.ev.Op, Path: path, OldPath: it.ev.OldPath, Deleted: deleted, At: it.ev.At, Info: after,
		Verdict: verdict, Snapshot: reg.Epoch, WriterActive: it.active, Quick: quick, Previous: it.previous, File: it.file}
	verdict.Path = path
	s.knownFile(&out)
	out.Process, out.ProcessNote = it.process, it.note
	if verdict.Verdict.IsHit() {
		if it.process == nil {
			out.Process, out.ProcessNote = s.deps.Who.Who(after.ID, path, it.ev.PID, it.ev.At)
		}
	}
	return out, false, nil
}

// errChanged ends the reading of a file that is another one by now.
var errChanged = errors.New("the file changed while it was read")

// whileSame returns a context that ends when the content of a file changes: to read
// the rest of a large one would be for nothing, and hold up those behind it.
func whileSame(parent context.Context, f *os.File, was state.Stamp) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	var done sync.WaitGroup
	done.Go(func() {
		look := time.NewTicker(time.Second)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
				if now, err := Stat(f); err == nil && (now.Stamp.Size != was.Size || now.Stamp.Mtime != was.Mtime) {
					cancel(errChanged)
				}
			}
		}
	})
	return ctx, func() {
		cancel(nil)
		done.Wait() // the file is closed after this
	}
}

// knownFile tells a rename or a new link of a known file from a new file.
func (s *Scanner) knownFile(out *Outcome) {
	p := out.Previous
	if p == nil || p.Path == "" || p.Path == out.Path || out.Op != watch.Create && out.Op != watch.Sweep && out.Op != watch.Rename && out.Op != watch.Link {
		return
	}
	if p.Stamp.Size != out.Info.Stamp.Size || p.Stamp.Mtime != out.Info.Stamp.Mtime {
		return
	}
	out.OldPath = p.Path
	if out.Info.Links > 1 && sameFile(p.Path, out.Info) {
		out.Op = watch.Link
	} else {
		out.Op = watch.Rename
	}
}

func sameFile(path string, info Info) bool {
	f, err := OpenFile(path)
	if err != nil {
		return false
	}
	defer f.Close()
	other, err := Stat(f)
	return err == nil && other.ID == info.ID
}

// retry sends a file back to settle after it changed or failed to be read.
func (s *Scanner) retry(ctx context.Context, it *item, err error) {
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		s.deps.Log("judge: %q: %v", it.ev.Path, err)
		if it.tries++; it.tries > 3 || errors.Is(err, os.ErrPermission) {
			s.unreadable(it.ev.Path, err)
			return
		}
	}
	s.Count.Reread.Add(1)
	again := *it
	again.urgent = false
	it.file = nil // now owned by again
	again.due = time.Now().Add(s.opts.Quiet)
	s.settle(&again)
}

// report hands the outcome on and says whether that worked. One at a time, each
// with what is known by now: the same file may have been judged beside this, by a
// sweep and an event, and is one hit.
func (s *Scanner) report(ctx context.Context, it *item, out Outcome) bool {
	s.reports.Lock()
	defer s.reports.Unlock()
	if e, ok := s.deps.Store.Get(out.Info.Key); ok {
		out.Previous = &e
	}
	s.Count.Judged.Add(1)
	if out.Verdict.Verdict.IsHit() {
		s.Count.Hits.Add(1)
	}
	if err := s.deps.Report(ctx, out); err != nil {
		if ctx.Err() == nil {
			s.deps.Log("report: %q: %v", out.Path, err)
			s.deps.Gap(watch.Gap{Path: out.Path, From: it.first, Cause: "unreported", Text: err.Error()})
		}
		return false
	}
	return true
}

// full follows a quick verdict with a full one: triage may miss, or name only the
// family. Until then the state store holds the file as not yet read.
func (s *Scanner) full(ctx context.Context, it *item, reg Registry, quick Outcome) {
	if e, ok := s.deps.Store.Get(it.info.Key); ok {
		it.previous = &e
	}
	var out Outcome
	again := changedSince(it)
	var err error
	if !again {
		out, again, err = s.judge(ctx, it, reg, false)
	}
	if err != nil || again {
		s.retry(ctx, it, err)
		return
	}
	if sameVerdict(out.Verdict, quick.Verdict) {
		out.Op, out.OldPath = quick.Op, quick.OldPath // nothing new happened
	}
	if out.Process == nil {
		out.Process, out.ProcessNote = quick.Process, quick.ProcessNote
	}
	s.report(ctx, it, out)
}

// changedSince says that a file is another one than when it was looked at: it waited
// to be read in whole.
func changedSince(it *item) bool {
	now, err := Stat(it.file)
	return err == nil && (now.Stamp.Size != it.info.Stamp.Size || now.Stamp.Mtime != it.info.Stamp.Mtime)
}

func sameVerdict(a, b *api.Verdict) bool {
	return a.Verdict == b.Verdict && a.Model == b.Model && a.ModelVersion == b.ModelVersion
}
