package limits

import (
	"strings"
	"testing"
)

func TestParseSome(t *testing.T) {
	for text, want := range map[string]float64{
		"some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=99.00": 12.5,
		"": 0, "some avg10=x": 0, "some avg10=1e9 ": 0, "full avg10=5.00": 0,
	} {
		if got := parseSome(strings.NewReader(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestFactor(t *testing.T) {
	last := 2.0
	for _, io := range []float64{0, 9, 20, 40, 60, 100} {
		f := Pressure{IO: io}.Factor()
		if f > last || f < 0.1 || f > 1 {
			t.Errorf("%v: %v after %v", io, f, last)
		}
		last = f
	}
	if (Pressure{}).Factor() != 1 || (Pressure{IO: 100}).Factor() != 0.1 {
		t.Error("the ends")
	}
}
