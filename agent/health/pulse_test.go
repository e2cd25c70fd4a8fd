package health

import (
	"testing"
	"time"
)

func TestPulses(t *testing.T) {
	now := time.Unix(0, 0)
	p := NewPulses()
	p.now = func() time.Time { return now }
	p.Beat("settle", time.Minute)
	p.Beat("pump", time.Hour)
	now = now.Add(2 * time.Minute)
	if late := p.Late(); len(late) != 1 || late[0] != "settle has stood still for 2m0s" {
		t.Errorf("%q", late)
	}
	p.Beat("settle", time.Minute)
	if late := p.Late(); len(late) != 0 {
		t.Errorf("%q after a beat", late)
	}
	now = now.Add(2 * time.Hour)
	p.End("settle")
	if late := p.Late(); len(late) != 1 {
		t.Errorf("%q, want the pump alone", late)
	}
}
