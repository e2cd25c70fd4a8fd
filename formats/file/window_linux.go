package file

import "sync"

// Headers of archives and pickles are read a few bytes at a time. Where a file is not cached, and is to stay so, each
// such read would bring in its pages and those behind them again, so that they are served from a stretch that is read
// once: a page, and the more the further reads go on behind it.
const (
	smallRead   = 4 << 10
	leastWindow = 4 << 10
	mostWindow  = 64 << 10
	windowFrom  = 16 // small reads of a file, after which windows are worth their memory
)

// windows holds the two stretches that were read last: a directory, and what it tells of.
type windows struct {
	mu    sync.Mutex
	reads int
	slots [2]window
	last  int // the slot that was used last
}

type window struct {
	off  int64
	size int // of the next stretch, if it is near
	data []byte
}

// within returns the bytes at off, nil where the window does not have all of them.
func (w *window) within(off int64, length int) []byte {
	at := off - w.off // both are 0 or more
	if at < 0 || at > int64(len(w.data)-length) {
		return nil
	}
	return w.data[at:][:length]
}

// near reports whether off lies in the window or soon behind it.
func (w *window) near(off int64) bool {
	return w.size > 0 && off >= w.off && off-w.off < int64(len(w.data)+mostWindow)
}

// readSmall fills p from a window. Where it is false, nothing was done.
func (n *neutral) readSmall(p []byte, off int64) bool {
	w := &n.small
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reads++; w.reads <= windowFrom {
		return false
	}
	for i := range w.slots {
		if b := w.slots[i].within(off, len(p)); b != nil {
			w.last = i
			copy(p, b)
			return true
		}
	}
	slot := w.slotFor(off)
	n.fill(slot, off)
	return copy(p, slot.within(off, len(p))) == len(p)
}

// slotFor returns the slot whose stretch goes on at off, else the one that was not used last.
func (w *windows) slotFor(off int64) *window {
	for i := range w.slots {
		if s := &w.slots[i]; s.near(off) {
			s.size = min(2*s.size, mostWindow)
			w.last = i
			return s
		}
	}
	w.last = 1 - w.last
	s := &w.slots[w.last]
	s.size = leastWindow
	return s
}

// fill reads a window from off on, as far as it can.
func (n *neutral) fill(w *window, off int64) {
	if cap(w.data) < w.size {
		w.data = make([]byte, w.size)
	}
	w.data, w.off = w.data[:w.size], off
	done := 0
	for done < w.size {
		k, err := n.read(w.data[done:], off+int64(done))
		if done += k; err != nil || k == 0 {
			break
		}
	}
	w.data = w.data[:done]
}
