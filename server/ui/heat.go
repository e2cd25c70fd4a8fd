package ui

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weightwarden/internal/api"
)

// Bounds of a heat map: more is not seen any more.
const (
	heatLayers = 160
	heatRoles  = 24
)

var layerNumber = regexp.MustCompile(`(^|[._/])(\d{1,5})([._/]|$)`)

// heatRow is what one kind of tensor became, layer by layer.
type heatRow struct {
	Role  string
	cells map[int]*heatCell
}

type heatCell struct {
	weight float64 // parameters
	sum    float64 // of cosine times parameters
	name   string
	word   string
}

// heatMap draws matched tensors of a model of layers: a row for each kind of
// tensor, a column for each layer, darker where the weights are more alike. It has
// no rectangles where no tensor names a layer.
func heatMap(tensors []api.TensorMatch) chart {
	rows, layers := heatRows(tensors)
	c := chart{Name: "similarity of the weights by layer"}
	if len(rows) == 0 || layers < 2 {
		return c
	}
	const left, size, gap, top = 190, 15, 1, 18
	cell := float64(size)
	if layers > 48 {
		cell = max(4, 720/float64(layers))
	}
	c.W, c.H = left+int(float64(layers)*cell)+8, top+len(rows)*(size+gap)+4
	for l := 0; l < layers; l++ {
		if l%max(1, int(36/cell)) == 0 {
			c.Labels = append(c.Labels, label{left + (float64(l)+.5)*cell, 12, strconv.Itoa(l), "middle"})
		}
	}
	for i, r := range rows {
		y := float64(top + i*(size+gap))
		c.Labels = append(c.Labels, label{left - 8, y + 11.5, r.Role, "end"})
		for l := range layers {
			x := rect{X: left + float64(l)*cell, Y: y, W: cell - 1, H: size - 1, Class: "rail", Title: fmt.Sprintf("layer %d: not found", l)}
			if h := r.cells[l]; h != nil {
				cos := h.sum / h.weight
				x.Class = heatClass(cos)
				x.Title = fmt.Sprintf("%s: %s, similarity %.4f", short(h.name), short(h.word), cos)
			}
			c.Rects = append(c.Rects, x)
		}
	}
	return c
}

// heatClass spends most steps on .9 to 1, where the differences lie that people ask
// about.
func heatClass(cosine float64) string {
	switch {
	case cosine >= 0.999:
		return "f-h4"
	case cosine >= 0.98:
		return "f-h3"
	case cosine >= 0.9:
		return "f-h2"
	}
	return "f-h1"
}

func heatRows(tensors []api.TensorMatch) (rows []*heatRow, layers int) {
	byRole := map[string]*heatRow{}
	for i := range tensors {
		t := &tensors[i]
		if len(t.Registered) > 1024 {
			continue
		}
		m := layerNumber.FindStringSubmatchIndex(t.Registered)
		if m == nil {
			continue
		}
		layer, err := strconv.Atoi(t.Registered[m[4]:m[5]])
		if err != nil || layer >= heatLayers {
			continue
		}
		role := strings.TrimSuffix(strings.Trim(t.Registered[m[5]:], "._/"), ".weight")
		role = shorten(layerNumber.ReplaceAllString(role, "$1*$3"), 28)
		r := byRole[role]
		if r == nil {
			if len(rows) == heatRoles {
				continue
			}
			r = &heatRow{Role: role, cells: map[int]*heatCell{}}
			byRole[role], rows = r, append(rows, r)
		}
		r.add(layer, t)
		layers = max(layers, layer+1)
	}
	slices.SortStableFunc(rows, func(a, b *heatRow) int { return cmp.Compare(len(b.cells), len(a.cells)) })
	return rows, layers
}

func (r *heatRow) add(layer int, t *api.TensorMatch) {
	c := r.cells[layer]
	if c == nil {
		c = &heatCell{name: t.Registered, word: t.Relation}
		r.cells[layer] = c
	}
	n := float64(max(t.Parameters, 1))
	c.weight += n
	c.sum += n * min(max(t.Cosine, -1), 1)
}
