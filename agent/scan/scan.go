package scan

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"weightwarden/agent/process"
	"weightwarden/agent/state"
	"weightwarden/agent/watch"
	"weightwarden/internal/api"
)

// Info is what the kernel says of an open file.
type Info struct {
	Regular      bool
	Stamp        state.Stamp
	ID           process.FileID
	Key          state.Key
	UID          int // owner, -1 unknown
	Links        int
	Major, Minor int
}

type writerState int

const (
	writersUnknown writerState = iota
	writersNone
	writersActive
)

// Outcome is a judged file.
type Outcome struct {
	Op           watch.Op
	Path         string
	OldPath      string
	Deleted      bool // the name was gone when it was read
	At           time.Time
	Info         Info
	Verdict      *api.Verdict
	Snapshot     int64 // registry epoch that judged
	Process      *api.Process
	ProcessNote  string
	WriterActive bool // it was still being written when its time was up
	Quick        bool // judged by samples
	Previous     *state.Entry
	File         *os.File // open until Report returns
}

// Registry is the judge of the moment and the epoch of its registry.
type Registry struct {
	Judge api.Judge
	Epoch int64
}

// Attributor says who did it.
type Attributor interface {
	// Observe looks who has the file open now, and remembers.
	Observe(process.FileID)
	// Made notes which process made a file.
	Made(id process.FileID, pid int, at time.Time)
	// Who names the process behind an event, or says why not. pid is what the
	// source of the event knows, 0 for nothing.
	Who(id process.FileID, path string, pid int, written time.Time) (*api.Process, string)
}

// Deps are the things a Scanner works with.
type Deps struct {
	Registry func() Registry // a nil Judge: wait
	Store    *state.Store
	Who      Attributor
	Report   func(context.Context, Outcome) error // returns when the outcome is durable
	Gap      func(watch.Gap)                      // never blocks
	Beat     func()                               // the loop that settles files goes round; nil: nobody asks
	Log      func(format string, args ...any)
}

// Options bound a Scanner.
type Options struct {
	MinSize    int64
	Small      func(path string) bool // smaller files that are looked at, by their names; nil: none
	Quiet      time.Duration
	MaxWait    time.Duration
	Workers    int
	Queue      int
	QuickAbove int64
	Events     *rate.Limiter // bytes
	Sweeps     *rate.Limiter // bytes
}

// settleFirst is how long after an event a file is first looked at. It gives
// tools that write and then rename the time to do so, and it is longer than any
// kernel's clock tick, so that a later write must move the change time.
const settleFirst = 50 * time.Millisecond

// Counters of what a Scanner did.
type Counters struct {
	Events, Gated, Judged, Hits, Unchanged, Shed, Unreadable, Reread atomic.Uint64
	Bytes                                                            atomic.Uint64
}

// Scanner runs the pipeline.
type Scanner struct {
	deps  Deps
	opts  Options
	Count Counters

	mu      sync.Mutex
	pending map[process.FileID]*item
	wake    chan struct{}
	events  chan *item
	sweeps  chan *item
	deeps   chan deep
	reading atomic.Int64 // files in deeps or being read from there
	reports sync.Mutex   // held while an outcome is made durable
	urgent  atomic.Int64 // files of events that are being judged: other reading stands back
	done    sync.WaitGroup
}

// item is one file on its way.
type item struct {
	ev       watch.Event
	file     *os.File
	info     Info
	first    time.Time
	due      time.Time
	moved    time.Time // when it was last seen to change
	tries    int
	active   bool
	sweep    bool
	urgent   bool // it is judged now, because of an event
	previous *state.Entry
	process  *api.Process // named when it settled; a judge may take longer than a process is remembered
	note     string
	also     []watch.Event // earlier events of the same inode under other names
}

// New starts a Scanner that ends with ctx; Wait waits for its end.
func New(ctx context.Context, deps Deps, opts Options) *Scanner {
	s := &Scanner{deps: deps, opts: opts, pending: map[process.FileID]*item{}, wake: make(chan struct{}, 1),
		events: make(chan *item, opts.Queue), sweeps: make(chan *item, 16), deeps: make(chan deep, 64)}
	s.done.Add(3 + opts.Workers)
	go s.readWhole(ctx)
	go s.sweepWork(ctx)
	go s.settleLoop(ctx)
	for range opts.Workers {
		go s.work(ctx)
	}
	return s
}

// Wait returns when every part has ended after the context was cancelled.
func (s *Scanner) Wait() { s.done.Wait() }

// Idle reports whether nothing waits or is settling.
func (s *Scanner) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) == 0 && len(s.events) == 0 && len(s.sweeps) == 0 && s.reading.Load() == 0
}

// Submit takes an event. It never blocks on later stages.
func (s *Scanner) Submit(ev watch.Event) {
	s.Count.Events.Add(1)
	f, info, ok := s.gate(ev)
	if !ok {
		return
	}
	switch {
	case ev.PID == 0:
		s.deps.Who.Observe(info.ID)
	case ev.Op == watch.Create:
		s.deps.Who.Made(info.ID, ev.PID, ev.At)
	}
	if s.tooSmall(info.Stamp.Size, ev.Path) {
		f.Close()
		return
	}
	s.Count.Gated.Add(1)
	s.settle(&item{ev: ev, file: f, info: info, first: time.Now(), moved: time.Now(), due: time.Now().Add(settleFirst)})
}

// tooSmall reports whether a file of that size and name is passed by.
func (s *Scanner) tooSmall(size int64, path string) bool {
	return size < s.opts.MinSize && (s.opts.Small == nil || !s.opts.Small(path))
}

// gate opens the file where the source did not and asks whether it is one to
// look at. Small files pass here, because a large file begins small.
func (s *Scanner) gate(ev watch.Event) (*os.File, Info, bool) {
	f := ev.File
	if f == nil {
		var err error
		if f, err = OpenFile(ev.Path); err != nil {
			if os.IsPermission(err) {
				s.unreadable(ev.Path, err)
			}
			return nil, Info{}, false // gone, a link, a socket
		}
	}
	info, err := Stat(f)
	if err != nil || !info.Regular {
		f.Close()
		return nil, Info{}, false
	}
	return f, info, true
}

func (s *Scanner) unreadable(path string, err error) {
	s.Count.Unreadable.Add(1)
	s.deps.Gap(watch.Gap{Path: path, From: time.Now(), Cause: "unreadable", Text: err.Error()})
}

// settle puts an item into the waiting room, or joins it with the same file's.
func (s *Scanner) settle(it *item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.pending[it.info.ID]; ok {
		merge(old, it)
	} else if len(s.pending) >= s.opts.Queue {
		s.shedLocked(it)
	} else {
		s.pending[it.info.ID] = it
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// merge joins a later event of the same file into the waiting one.
func merge(old, next *item) {
	if old.file == nil {
		old.file = next.file
	} else if next.file != nil {
		next.file.Close()
	}
	if next.ev.PID != 0 && (next.ev.Op == watch.Write || old.ev.PID == 0) {
		old.ev.PID, old.ev.At = next.ev.PID, next.ev.At
	}
	// A file that was made and then written, moved or linked keeps what tells most.
	if rank(next.ev.Op) > rank(old.ev.Op) {
		old.ev.Op = next.ev.Op
	}
	if next.ev.OldPath != "" {
		old.ev.OldPath = next.ev.OldPath
	}
	if old.ev.Path != next.ev.Path && len(old.also) < maxNames {
		old.also = append(old.also, old.ev, next.ev)
	}
	old.ev.Path, old.ev.Closed = next.ev.Path, old.ev.Closed || next.ev.Closed
	old.info, old.due = next.info, next.due
}

// maxNames bounds the hard links of one inode that are reported one by one.
const maxNames = 16

func rank(op watch.Op) int {
	switch op {
	case watch.Write:
		return 3
	case watch.Create:
		return 2
	case watch.Rename, watch.Link:
		return 1
	}
	return 0
}

func (s *Scanner) shedLocked(it *item) {
	s.Count.Shed.Add(1)
	path := it.ev.Path
	it.close()
	s.deps.Gap(watch.Gap{Path: filepath.Dir(path), From: it.first, Cause: "overflow", Text: "more files at once than the queue holds"})
}

func (it *item) close() {
	if it.file != nil {
		it.file.Close()
		it.file = nil
	}
}
