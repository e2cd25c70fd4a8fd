package pytorch

import (
	"context"
	"fmt"
	"strconv"

	"weightwarden/formats"
	"weightwarden/formats/pytorch/pickle"
)

const (
	maxScalars = 500 // metadata entries taken out of a checkpoint
	scalarText = 200 // bytes of a string that is shown as metadata
)

// trail is where a value stands in the object tree. The name is joined only when
// somebody wants it, since hostile trees are deep.
type trail struct {
	up  *trail
	key string
}

// name joins the keys with dots, the outermost first, cut to max bytes from the front.
func (p *trail) name(max int) string {
	var keys []string
	n := 0
	for ; p != nil && n <= max; p = p.up {
		if p.key != "" {
			keys, n = append(keys, p.key), n+len(p.key)+1
		}
	}
	out := make([]byte, 0, n)
	for i := len(keys) - 1; i >= 0; i-- {
		if len(out) > 0 {
			out = append(out, '.')
		}
		out = append(out, keys[i]...)
	}
	return formats.Cut(string(out), max)
}

func (p *trail) child(key string) *trail {
	if key == "" {
		return p
	}
	return &trail{p, key}
}

// walker turns the values of pickles into tensors and metadata.
type walker struct {
	ctx     context.Context
	limits  formats.Limits
	model   *formats.Model
	src     formats.Source // of the pickle, for the bytes it holds itself
	resolve func(*pickle.Persistent) (*storage, error)
	// tensorOf is for files whose persistent ids are tensors (tar).
	tensorOf func(*pickle.Persistent) (formats.Tensor, bool)

	names    int64 // bytes that names may still take
	scalars  int
	full     bool
	seen     map[any]struct{} // containers and calls, so that nothing is walked twice
	stores   map[*pickle.Persistent]*storage
	files    map[*pickle.Call]*storage // of files inside of the pickle
	unbacked int                       // tensors whose storage is in no reach
	todo     []task
}

type task struct {
	v  pickle.Value
	at *trail
}

func newWalker(ctx context.Context, m *formats.Model, limits formats.Limits) *walker {
	return &walker{ctx: ctx, limits: limits, model: m, names: limits.HeaderBytes,
		seen: map[any]struct{}{}, stores: map[*pickle.Persistent]*storage{}}
}

func (w *walker) note(code string, s formats.Severity, off int64, text string, args ...any) {
	w.model.AddFinding(w.limits.Findings, formats.Finding{Code: code, Severity: s, Offset: off, Text: fmt.Sprintf(text, args...)})
}

// pickle walks everything that one pickle built: what it returned, then tensors
// that it made and threw away.
func (w *walker) pickle(res *pickle.Result, root *trail) error {
	w.report(res)
	if err := w.walk(res.Value, root); err != nil {
		return err
	}
	hidden := 0
	for i := len(res.Calls) - 1; i >= 0; i-- { // outermost first
		c := res.Calls[i]
		if _, ok := w.seen[c]; ok || !makesTensor(c) && !makesArray(c) {
			continue
		}
		if hidden++; hidden == 1 {
			w.note("pickle.discarded", formats.Danger, c.Offset, "the pickle makes tensors that are not part of what it returns")
		}
		if err := w.walk(c, root.child("discarded").child(strconv.Itoa(hidden))); err != nil {
			return err
		}
	}
	return nil
}

// report turns what the machine noticed into findings.
func (w *walker) report(res *pickle.Result) {
	for _, g := range res.Globals {
		if s := g.Judge(); s != formats.Info {
			w.note("pickle.global", s, g.Offset, "unpickling would import %.200q", g.String())
		}
	}
	for _, n := range res.Notes {
		w.note(n.Code, formats.Warning, n.Offset, "%s", n.Text)
	}
	if res.Broken != nil {
		w.note("pickle.broken", formats.Unread, res.End, "the pickle breaks after %d opcodes, what it built before is listed: %v", res.Opcodes, res.Broken)
	}
}

func (w *walker) walk(v pickle.Value, at *trail) error {
	w.todo = append(w.todo[:0], task{v, at})
	for n := 0; len(w.todo) > 0 && !w.full; n++ {
		if n&0xfff == 0 && w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		t := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		w.visit(t.v, t.at)
	}
	return nil
}

// push adds tasks in reverse, so that the first is next.
func (w *walker) push(tasks []task) {
	for i := len(tasks) - 1; i >= 0; i-- {
		w.todo = append(w.todo, tasks[i])
	}
}

// first marks a value as walked; false where it was before.
func (w *walker) first(v any) bool {
	if _, ok := w.seen[v]; ok {
		return false
	}
	w.seen[v] = struct{}{}
	return true
}

func (w *walker) visit(v pickle.Value, at *trail) {
	switch v := v.(type) {
	case *pickle.Dict:
		if w.first(v) {
			w.push(pairTasks(v.Pairs, at))
		}
	case *pickle.Seq:
		if w.first(v) {
			w.sequence(v, at)
		}
	case *pickle.Call:
		w.call(v, at)
	case *pickle.Persistent:
		if w.tensorOf == nil {
			w.bareStorage(v, at)
		} else if t, ok := w.tensorOf(v); ok {
			w.add(t, at)
		}
	case string, int64, float64, bool:
		w.scalar(v, at)
	}
}

func (w *walker) sequence(s *pickle.Seq, at *trail) {
	tasks := make([]task, 0, len(s.Items))
	for i, v := range s.Items {
		switch {
		case !holds(v):
		case s.Kind == pickle.Broken && len(tasks) == 0: // most likely what would have been returned
			tasks = append(tasks, task{v, at})
		default:
			tasks = append(tasks, task{v, at.child(strconv.Itoa(i))})
		}
	}
	w.push(tasks)
}

// holds reports whether a value may lead to a tensor. Scalars in lists are not
// worth a line of metadata.
func holds(v pickle.Value) bool {
	switch v.(type) {
	case *pickle.Dict, *pickle.Seq, *pickle.Call, *pickle.Persistent:
		return true
	}
	return false
}

func pairTasks(pairs []pickle.Pair, at *trail) []task {
	tasks := make([]task, 0, len(pairs))
	for _, p := range pairs {
		key, ok := keyText(p.Key)
		if !ok {
			key = "?"
		}
		tasks = append(tasks, task{p.Value, &trail{at, key}})
		if holds(p.Key) {
			tasks = append(tasks, task{p.Key, &trail{at, "key"}})
		}
	}
	return tasks
}

// keyText is a dict key or storage key as text.
func keyText(v pickle.Value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

func (w *walker) scalar(v pickle.Value, at *trail) {
	if at == nil || w.scalars >= maxScalars {
		return
	}
	text := fmt.Sprint(v)
	if len(text) > scalarText {
		return
	}
	w.scalars++
	w.keyValue(at.name(w.limits.NameBytes), text)
}

func (w *walker) keyValue(key, value string) {
	w.model.Metadata = append(w.model.Metadata, formats.KeyValue{Key: formats.Cut(key, w.limits.NameBytes), Value: formats.Cut(value, w.limits.NameBytes)})
}

// add appends a tensor unless a limit is reached.
func (w *walker) add(t formats.Tensor, at *trail) {
	if t.Name == "" {
		t.Name = at.name(w.limits.NameBytes)
	}
	w.names -= int64(len(t.Name))
	if w.names < 0 || len(w.model.Tensors) >= w.limits.Tensors {
		w.full = true
		w.note("tensors.limit", formats.Unread, -1, "only the first %d tensors were read", len(w.model.Tensors))
		return
	}
	w.model.Tensors = append(w.model.Tensors, t)
}
