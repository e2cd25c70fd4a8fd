package fingerprint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"weightwarden/fingerprint/chunk"
	"weightwarden/fingerprint/internal/keyhash"
	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
	"weightwarden/formats/quant"
)

// Compute makes the fingerprint of src in one pass, in bounded memory. m is what
// a decoder saw in src; nil means that no decoder reads it, and then only the
// exact layer is computed, over all bytes. A read error of one part is counted in
// UnreadBytes and noted, it does not end the work; the error is that of ctx, of
// opt, or of a source none of whose bytes could be read.
func Compute(ctx context.Context, src formats.Source, m *formats.Model, opt Options) (*Fingerprint, error) {
	c := newComputer(ctx, src, m, opt)
	if opt.Quick && m == nil {
		return nil, errors.New("a quick look needs a file that a decoder reads")
	}
	if err := c.run(); err != nil {
		return nil, err
	}
	if opt.Register && !opt.Quick {
		c.newWorker().findTables()
	}
	if opt.FileDigests {
		if err := c.fileDigests(src); err != nil {
			return nil, err
		}
	}
	fp := c.finish()
	if opt.Register && !opt.Quick {
		if err := AddInvariants(ctx, m, fp, opt.Jobs); err != nil {
			return nil, err
		}
	}
	return fp, nil
}

// computer is the state of one Compute.
type computer struct {
	ctx    context.Context
	opt    Options
	key    *Key
	model  *formats.Model
	layout *layout
	views  []quant.View
	maker  *sketch.Maker
	rule   chunk.Rule
	hasher []byte // key of chunk keys
	out    *Fingerprint

	sampleRows int   // of each matrix, in a quick look
	longest    int64 // piece

	read     atomic.Int64
	sketched atomic.Int64 // tensors

	mu     sync.Mutex // guards notes, unread
	notes  []string
	unread int64
	phased []Piece // further alignments of unknown bytes
}

// readBudget bounds the logical bytes read against the size of the files, since
// a hostile file can name the same bytes as a million tensors.
const readBudget = 4

func newComputer(ctx context.Context, src formats.Source, m *formats.Model, opt Options) *computer {
	c := &computer{ctx: ctx, opt: opt, key: opt.Key, model: m}
	if c.key == nil {
		c.key = PublicKey()
	}
	c.rule = c.key.chunking()
	c.hasher = c.key.derive("chunk keys")
	c.maker = sketch.NewMaker(c.key.derive("sketch"))
	c.maker.Thorough = opt.Register
	c.layout = plan1(src, m)
	c.unread = c.layout.unread
	c.longest = c.layout.longest()
	c.out = &Fingerprint{Scheme: Scheme1, KeyID: c.key.ID(), Format: "unknown", Registered: opt.Register, Loose: c.layout.loose()}
	if m != nil {
		c.out.Format = string(m.Format)
		c.views = Views(m)
	}
	for i := range c.layout.files {
		if c.layout.files[i].base == i {
			c.out.Size += c.layout.files[i].size
		}
	}
	c.makeTensors()
	c.sampleRows = c.quickSample()
	return c
}

// makeTensors lists the fingerprint's tensors: one for each view, and one for each
// tensor that no view reads.
func (c *computer) makeTensors() {
	if c.model == nil {
		return
	}
	used := make([]bool, len(c.model.Tensors))
	for i := range c.views {
		v := &c.views[i]
		t := Tensor{Name: v.Name, DType: v.DType, Packing: v.Scheme, Shape: v.Shape, Rows: v.Rows, Cols: v.Cols}
		t.Parameters, _ = formats.Elements([]int64{v.Rows, v.Cols})
		for _, k := range v.Tensors {
			used[k] = true
			c.attach(&t, k)
		}
		c.out.Tensors = append(c.out.Tensors, t)
	}
	for k := range c.model.Tensors {
		if !used[k] {
			mt := &c.model.Tensors[k]
			t := Tensor{Name: mt.Name, DType: mt.DType, Packing: "opaque", Shape: mt.Shape, Parameters: mt.Elements()}
			c.attach(&t, k)
			c.out.Tensors = append(c.out.Tensors, t)
		}
	}
}

func (c *computer) attach(t *Tensor, k int) {
	mt := &c.model.Tensors[k]
	if t.Member == "" {
		t.Member = mt.Member
	}
	if n, ok := mt.Bytes(); ok {
		t.Bytes += n
	}
	if p := c.layout.tensorPiece[k]; p >= 0 {
		t.Pieces = append(t.Pieces, p)
	}
}

// job is a piece to chunk, with the view to sketch on the way, or a view to
// sketch by itself.
type job struct {
	piece int // -1: none
	view  int // -1: none
	bytes int64
}

// jobs lists the work, largest first so that cores end together.
func (c *computer) jobs() []job {
	viewOf := make(map[int]int) // piece -> view whose rows are the piece's bytes
	var out []job
	for v := range c.views {
		view := &c.views[v]
		if _, ok := sketch.Orientation(view.Rows, view.Cols); !ok {
			continue
		}
		p := c.streamPiece(view)
		if _, taken := viewOf[p]; p < 0 || taken || c.opt.Quick {
			out = append(out, job{piece: -1, view: v, bytes: view.Rows * view.Cols})
			continue
		}
		viewOf[p] = v
	}
	budget := readBudget*c.out.Size + 64<<20
	for p := range c.layout.pieces {
		if c.opt.Quick {
			break
		}
		n := c.layout.pieces[p].Length
		if budget -= n; budget < 0 {
			c.note(n, fmt.Sprintf("tensor bytes of %d pieces were not read: they overlap more than %d times over", len(c.layout.pieces)-p, readBudget))
			break
		}
		v, ok := viewOf[p]
		if !ok {
			v = -1
		}
		out = append(out, job{piece: p, view: v, bytes: n})
	}
	slices.SortStableFunc(out, func(a, b job) int { return cmp.Compare(b.bytes, a.bytes) })
	return out
}

// streamPiece returns the piece whose bytes, as they stream by, are the rows of
// the view; -1 where the view reads for itself.
func (c *computer) streamPiece(v *quant.View) int {
	if len(v.Tensors) != 1 || v.Scheme != quant.Plain && v.Scheme != quant.Block {
		return -1
	}
	t := &c.model.Tensors[v.Tensors[0]]
	p := c.layout.tensorPiece[v.Tensors[0]]
	want, ok := t.Bytes()
	if p < 0 || !ok || c.layout.pieces[p].Length != want || !quant.CanDecode(t.DType) {
		return -1
	}
	if _, whole := t.DType.Bytes(v.Cols / quant.Numbers(t.DType)); !whole {
		return -1 // rows end inside a byte
	}
	return p
}

func (c *computer) note(unread int64, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unread += unread
	if len(c.notes) < 100 {
		c.notes = append(c.notes, text)
	}
}

// run does all jobs on as many goroutines as are allowed.
func (c *computer) run() error {
	jobs := c.jobs()
	spread(c.ctx, c.opt.Jobs, len(jobs), func() func(int) {
		w := c.newWorker()
		return func(i int) { w.do(jobs[i]) }
	})
	return c.ctx.Err()
}

// spread does n pieces of work, numbered from 0, in order on as many goroutines as jobs says, 0 meaning one for each
// core, until ctx is done. Each goroutine asks start once for what does a piece.
func spread(ctx context.Context, jobs, n int, start func() func(int)) {
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range max(1, min(jobs, n)) {
		wg.Go(func() {
			do := start()
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}

func (c *computer) fileDigests(src formats.Source) error {
	d, err := DigestFile(c.ctx, src, c.opt.Progress)
	if err != nil {
		return err
	}
	c.out.Digests = d
	c.read.Add(src.Size())
	return nil
}

// finish puts the results together.
func (c *computer) finish() *Fingerprint {
	f := c.out
	f.Pieces = make([]Piece, len(c.layout.pieces), len(c.layout.pieces)+len(c.phased))
	for i := range c.layout.pieces {
		f.Pieces[i] = c.layout.pieces[i].Piece
	}
	digests := newDigester()
	f.Files = make([]File, len(c.layout.files))
	for i := range c.layout.files {
		fl := &c.layout.files[i]
		f.Files[i] = File{Name: fl.name, Size: fl.size, Digest: digests.file(f, fl)}
	}
	f.Pieces = append(f.Pieces, c.phased...)
	for i := range f.Tensors {
		t := &f.Tensors[i]
		t.Digest = digests.tensor(f, t)
		if t.Constant == "" && len(t.Pieces) > 0 && t.Sketch == nil && allPlain(f, t) {
			t.Constant = "equal"
		}
	}
	foldSums(f)
	f.Notes = append(c.layout.notes, c.notes...)
	f.UnreadBytes = c.unread
	f.BytesRead = c.read.Load()
	return f
}

// manyTensors is the number of sketched tensors from which sums are folded: a
// model that large has numbers enough, and its fingerprint stays under a megabyte.
const manyTensors = 128

func foldSums(f *Fingerprint) {
	n := 0
	for i := range f.Tensors {
		if f.Tensors[i].Sketch != nil {
			n++
		}
	}
	if n < manyTensors {
		return
	}
	for i := range f.Tensors {
		if s := f.Tensors[i].Sketch; s != nil && s.Groups == 4 {
			s.Fold()
		}
	}
}

func allPlain(f *Fingerprint, t *Tensor) bool {
	for _, p := range t.Pieces {
		if !f.Pieces[p].Plain {
			return false
		}
	}
	return true
}

// worker owns the buffers of one goroutine.
type worker struct {
	*computer
	split  *chunk.Splitter
	phases [3]*chunk.Splitter // of further alignments, when they are first wanted
	hash   *keyhash.Hasher
	floats []float32
	carry  []byte
	chunks []Chunk // of the piece at hand
	room   sketch.Room

	digests digester
}

func (c *computer) newWorker() *worker {
	h, err := keyhash.New(c.hasher)
	if err != nil {
		panic(err) // 32 bytes by construction
	}
	return &worker{computer: c, split: chunk.NewSplitter(c.rule, c.longest), hash: h, digests: newDigester()}
}

func (w *worker) count(n int64) {
	w.read.Add(n)
	if w.opt.Progress != nil {
		w.opt.Progress(n)
	}
}

// lean reports whether the work is to be done on a part of the bytes read.
func (c *computer) lean() bool { return c.opt.Lean && !c.opt.Register && c.out.Size >= leanFloor }

// leanFloor is the size from which less than the whole work is worth it.
const leanFloor = 64 << 20

// leanOneIn is how many tensors there are at most for each that Lean sketches in
// full, columns and rows of largest norm included, and leanLeast how many it does
// at least. Transformer blocks have 7 or 9 tensors, so that in time every kind
// has its turn.
const (
	leanOneIn = 16
	leanLeast = 4
)

// whole reports whether every row of a view is sketched.
func (c *computer) whole(view int) bool {
	return !c.lean() || view%max(1, min(leanOneIn, len(c.views)/leanLeast)) == 0
}

func (w *worker) do(j job) {
	if j.piece < 0 {
		w.sketchView(j.view)
		return
	}
	p := &w.layout.pieces[j.piece]
	var tee func([]byte) error
	var rows *rowFeed
	if j.view >= 0 {
		rows = w.newRowFeed(j.view)
		if rows != nil {
			tee = rows.feed
		}
	}
	if p.phases {
		w.chunkPhases(p, tee)
	} else {
		w.chunkPiece(p, tee, tee != nil && w.lean())
	}
	if rows != nil {
		rows.finish(p.Piece.Length)
	}
}

// chunkPiece cuts and hashes the bytes of p. With lean, when they are sketched too, only
// sampled chunks are hashed.
func (w *worker) chunkPiece(p *plan, tee func([]byte) error, lean bool) {
	out := w.newCollector(lean)
	out.chunks = w.chunks[:0]
	n, shown, err := w.cutLent(p, tee, out.emit)
	if err == nil && n < p.Length {
		var more int64
		more, err = w.cutRead(p, n, skipping(shown-n, tee), out.emit)
		if n += more; err == nil && n < p.Length {
			err = fmt.Errorf("%w: the file became shorter", formats.ErrTruncated)
		}
	}
	if err != nil && w.ctx.Err() == nil {
		w.note(p.Length-n, fmt.Sprintf("%d of %d bytes at offset %d were not read: %v", p.Length-n, p.Length, p.Offset, err))
	}
	out.into(&p.Piece, n)
	w.chunks = out.chunks
}

// lentAtOnce is how much of a file is mapped at a time: enough that mapping costs
// nothing beside the work, little beside the memory of the process.
const lentAtOnce = 8 << 20

// leastLent is how much is worth mapping: of less, as of a million tensors of one number, reading is cheaper.
const leastLent = 64 << 10

// cutLent cuts p where its bytes lie in memory, as far as they do. It returns the bytes cut, and those that tee
// was shown.
func (w *worker) cutLent(p *plan, tee func([]byte) error, emit chunk.Emit) (cut, shown int64, err error) {
	if p.logical || p.Length < leastLent {
		return 0, 0, nil
	}
	f := &w.layout.files[p.File]
	for cut < p.Length && err == nil {
		if err := w.ctx.Err(); err != nil {
			return cut, shown, err
		}
		end := min(p.Length, shown+lentAtOnce)
		var lent bool
		lent, err = formats.Lend(f.source, p.Offset-f.offset+cut, end-cut, func(data []byte) error {
			n, err := w.split.Window(data, int(shown-cut), end == p.Length, tee, emit)
			cut += int64(n)
			return err
		})
		if !lent {
			break
		}
		w.count(end - shown)
		shown = end
	}
	return cut, shown, err
}

// cutRead cuts p from byte number from on, where a chunk begins.
func (w *worker) cutRead(p *plan, from int64, tee func([]byte) error, emit chunk.Emit) (int64, error) {
	r, err := w.open(p, from)
	if err != nil {
		return 0, err
	}
	return w.split.SplitTee(&ctxReader{w: w, r: r}, tee, emit)
}

// skipping is tee without the first n bytes.
func skipping(n int64, tee func([]byte) error) func([]byte) error {
	if n == 0 || tee == nil {
		return tee
	}
	return func(block []byte) error {
		k := min(n, int64(len(block)))
		n -= k
		return tee(block[k:])
	}
}

// chunkPhases is chunkPiece for bytes of which nobody knows where numbers begin: they are
// cut at all four alignments.
func (w *worker) chunkPhases(p *plan, tee func([]byte) error) {
	lean := tee != nil && w.lean()
	var more [3]*collector
	var fed [3]int64
	read := int64(0)
	w.chunkPiece(p, func(block []byte) error {
		if tee != nil {
			if err := tee(block); err != nil {
				return err
			}
		}
		for i := range more {
			skip := int64(i + 1)
			if more[i] == nil {
				more[i] = w.newCollector(false)
			}
			rest := block[min(int64(len(block)), max(0, skip-read)):]
			if err := w.phase(i).Feed(rest, fed[i] == 0, more[i].emit); err != nil {
				return err
			}
			fed[i] += int64(len(rest))
		}
		read += int64(len(block))
		return nil
	}, lean)
	for i, c := range more {
		if c == nil || fed[i] == 0 || w.phase(i).End(c.emit) != nil {
			continue
		}
		extra := Piece{File: p.File, Offset: p.Offset + int64(i+1)}
		c.into(&extra, fed[i])
		w.mu.Lock()
		w.phased = append(w.phased, extra)
		w.mu.Unlock()
	}
}

// phase is the splitter of a further alignment.
func (w *worker) phase(i int) *chunk.Splitter {
	if w.phases[i] == nil {
		w.phases[i] = chunk.NewSplitter(w.rule, w.longest)
	}
	return w.phases[i]
}

// collector hashes chunks and keeps their keys.
type collector struct {
	w      *worker
	lean   bool // only sampled ones are hashed
	chunks []Chunk
	plain  bool
}

func (w *worker) newCollector(lean bool) *collector { return &collector{w: w, lean: lean, plain: true} }

func (c *collector) emit(b []byte, sampled bool) error {
	plain := chunk.Plain(b)
	c.plain = c.plain && plain
	if sampled || !c.lean {
		c.chunks = append(c.chunks, NewChunk(int64(len(b)), c.w.chunkKey(b), plain))
		return nil
	}
	if last := len(c.chunks) - 1; last >= 0 && c.chunks[last].Key == (ChunkKey{}) {
		run := c.chunks[last]
		c.chunks[last] = NewChunk(run.Length()+int64(len(b)), ChunkKey{}, run.Plain() && plain)
		return nil
	}
	c.chunks = append(c.chunks, NewChunk(int64(len(b)), ChunkKey{}, plain))
	return nil
}

// into stores what was collected of n bytes, in no more room than it needs: the list is most of
// what a fingerprint holds.
func (c *collector) into(p *Piece, n int64) {
	p.Length, p.Plain, p.Chunks = n, c.plain, append([]Chunk(nil), c.chunks...)
	p.Digest = c.w.digests.piece(c.chunks)
}

// open reads p from byte number from on, which is 0 for what is read through the tensor.
func (w *worker) open(p *plan, from int64) (io.Reader, error) {
	if p.logical {
		return w.model.Tensors[p.tensor].Reader()
	}
	f := &w.layout.files[p.File]
	// Offsets of pieces are those of the base file, which f is.
	return io.NewSectionReader(f.source, p.Offset-f.offset+from, p.Length-from), nil
}

func (w *worker) chunkKey(b []byte) (key ChunkKey) {
	sum := w.hash.Sum(b)
	copy(key[:], sum[:])
	return key
}

// ctxReader counts bytes and stops when the work is cancelled.
type ctxReader struct {
	w *worker
	r io.Reader
}

// Read implements io.Reader.
func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	if n > 0 {
		c.w.count(int64(n))
	}
	return n, err
}
