package techniques

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Tally counts sightings of techniques.
type Tally struct {
	counts map[string]int64
	alerts int64
}

// Add counts the techniques of one alert once each.
func (t *Tally) Add(list []Technique) {
	if t.counts == nil {
		t.counts = map[string]int64{}
	}
	t.alerts++
	for _, x := range list {
		t.counts[x.ID]++
	}
}

// Count is how many alerts named a technique.
func (t *Tally) Count(id string) int64 { return t.counts[id] }

// Layer is a layer of the ATT&CK Navigator, format 4.5:
// github.com/mitre-attack/attack-navigator/blob/master/layers/LAYERFORMATv4_5.md
type Layer struct {
	Name        string      `json:"name"`
	Versions    Versions    `json:"versions"`
	Domain      string      `json:"domain"`
	Description string      `json:"description"`
	Sorting     int         `json:"sorting"` // 3: by score, falling
	Techniques  []LayerCell `json:"techniques"`
	Gradient    Gradient    `json:"gradient"`
	Metadata    []Pair      `json:"metadata"`
}

// Versions are those of ATT&CK, of the Navigator and of the layer format.
type Versions struct {
	Attack    string `json:"attack"`
	Navigator string `json:"navigator"`
	Layer     string `json:"layer"`
}

// LayerCell is one technique. Score is the number of alerts.
type LayerCell struct {
	ID      string `json:"techniqueID"`
	Score   int64  `json:"score"`
	Comment string `json:"comment,omitempty"`
	Enabled bool   `json:"enabled"`
}

// Gradient colours scores.
type Gradient struct {
	Colors []string `json:"colors"`
	Min    int64    `json:"minValue"`
	Max    int64    `json:"maxValue"`
}

// Pair is a line of a layer's metadata.
type Pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Navigator makes a layer of what was counted. Techniques that can be noticed but
// were not seen are there with score 0, so that the layer shows coverage as well.
// The Navigator knows ATT&CK only: sightings of ATLAS are in the metadata.
func Navigator(t *Tally, now time.Time) Layer {
	l := Layer{Name: "weightwarden", Domain: "enterprise-attack", Sorting: 3, Techniques: []LayerCell{},
		Versions:    Versions{Attack: ATTACKVersion, Navigator: "5.2.0", Layer: "4.5"},
		Description: fmt.Sprintf("Techniques in %d alerts on copies of model weights, %s. Score: alerts that named the technique; 0: can be noticed, was not seen.", t.alerts, now.UTC().Format(time.RFC3339)),
		Gradient:    Gradient{Colors: []string{"#e8eef9", "#ffb14a", "#c5281c"}, Max: 1}, Metadata: []Pair{}}
	for _, x := range All() {
		n := t.counts[x.ID]
		if x.Framework == ATLAS {
			if n > 0 {
				l.Metadata = append(l.Metadata, Pair{ATLAS + " " + ATLASVersion + " " + x.ID + " " + x.Name, fmt.Sprint(n)})
			}
			continue
		}
		cell := LayerCell{ID: x.ID, Score: n, Enabled: true}
		if n > 0 {
			cell.Comment = fmt.Sprintf("%d alerts", n)
		}
		l.Techniques = append(l.Techniques, cell)
		l.Gradient.Max = max(l.Gradient.Max, n)
	}
	slices.SortStableFunc(l.Techniques, func(a, b LayerCell) int { return cmp.Compare(b.Score, a.Score) })
	return l
}
