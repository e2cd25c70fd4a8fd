package zip

import "weightwarden/formats"

const cursorBytes = 256 << 10 // more than the longest header, 46 + 3 * 65535

// cursor reads forward through a window.
type cursor struct {
	src      formats.Source
	pos, end int64
	window   []byte
	at       int64
	store    []byte
}

// peek returns the n bytes at pos, n up to cursorBytes.
func (c *cursor) peek(n int) ([]byte, error) {
	if i := c.pos - c.at; i >= 0 && i+int64(n) <= int64(len(c.window)) {
		return c.window[i : i+int64(n)], nil
	}
	if int64(n) > c.end-c.pos || n > cursorBytes {
		return nil, formats.ErrTruncated
	}
	if c.store == nil {
		c.store = make([]byte, min(int64(cursorBytes), c.end-c.pos))
	}
	w := c.store[:min(int64(len(c.store)), c.end-c.pos)]
	if err := formats.ReadFull(c.src, w, c.pos); err != nil {
		c.window = nil
		return nil, err
	}
	c.window, c.at = w, c.pos
	return w[:n], nil
}
