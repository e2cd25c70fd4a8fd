package health

import (
	"fmt"
	"testing"
	"time"
)

// What ended is told until the server knows of it, and a day long.
func TestOver(t *testing.T) {
	b := NewBoard()
	if b.Clear("nothing") || len(b.Over()) != 0 {
		t.Error("a condition that never was has ended")
	}
	b.Set("spool.write", Error, "no space")
	b.Set("uplink.hits", Warning, "refused")
	if !b.Clear("spool.write") || len(b.List()) != 1 {
		t.Errorf("%+v", b.List())
	}
	over := b.Over()
	if len(over) != 1 || over[0].Code != "spool.write" || over[0].Text != "no space" || over[0].Until == nil || over[0].Until.Before(over[0].Since) {
		t.Fatalf("%+v", over)
	}
	old := time.Now().Add(-2 * overFor).UTC()
	b.over[0].Until = &old
	if over = b.Over(); len(over) != 1 {
		t.Error("what nobody was told is forgotten")
	}
	b.Told(over)
	if over = b.Over(); len(over) != 0 {
		t.Errorf("told, and a day old: %+v", over)
	}
	for i := range 2 * overMost {
		b.Set(fmt.Sprint(i), Warning, "x")
		b.Clear(fmt.Sprint(i))
	}
	if over = b.Over(); len(over) != overMost || over[overMost-1].Code != fmt.Sprint(2*overMost-1) {
		t.Errorf("%d kept", len(over))
	}
}
