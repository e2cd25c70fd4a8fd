package report

import (
	"fmt"
	"html/template"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
)

// grid is a model as a map: a row for each role that a tensor plays in a layer, a
// column for each layer, and single cells for what belongs to no layer.
type grid struct {
	roles  []string
	layers []int
	cells  map[place]*cell
	single []*cell
}

type place struct {
	role  string
	layer int
}

// cell sums up the tensors of one role in one layer (one, or the experts of a
// mixture).
type cell struct {
	name     string
	suspects []string
	total    int64 // parameters
	found    int64
	weighted float64 // sum of cosine times parameters found
	relation string
	tensors  int
	exact    bool // only an exact copy of it could have been found
}

var number = regexp.MustCompile(`(^|[._/-])(\d+)([._/-]|$)`)

// role splits the name of a tensor into its layer and what it is there:
// "layers.12.mlp.w1" is "layers.*.mlp.w1" in layer 12. Further numbers (experts)
// become "*" too. A name without a number has no layer.
func role(name string) (string, int, bool) {
	if i := strings.LastIndexByte(name, '!'); i >= 0 {
		name = name[i+1:]
	}
	m := number.FindStringSubmatch(name)
	if m == nil {
		return name, 0, false
	}
	layer, err := strconv.Atoi(m[2])
	if err != nil || layer > 100_000 {
		return name, 0, false
	}
	for range 8 { // matches share their separators: one pass does not see neighbours
		next := number.ReplaceAllString(name, "${1}*${3}")
		if next == name {
			break
		}
		name = next
	}
	return name, layer, true
}

// newGrid places every registered tensor, and on it what was found of it.
func newGrid(registered []Tensor, matches []api.TensorMatch) *grid {
	found := map[string][]api.TensorMatch{}
	for _, m := range matches {
		found[m.Registered] = append(found[m.Registered], m)
	}
	g := &grid{cells: map[place]*cell{}}
	for _, t := range registered {
		r, layer, ok := role(t.Name)
		c := &cell{name: t.Name}
		if ok {
			at := place{r, layer}
			if have := g.cells[at]; have != nil {
				c = have
			} else {
				g.cells[at] = c
				if !slices.Contains(g.roles, r) {
					g.roles = append(g.roles, r)
				}
				if !slices.Contains(g.layers, layer) {
					g.layers = append(g.layers, layer)
				}
			}
		} else {
			g.single = append(g.single, c)
		}
		c.add(t, found[t.Name])
	}
	slices.Sort(g.layers)
	return g
}

func (c *cell) add(t Tensor, matches []api.TensorMatch) {
	c.exact = t.ExactOnly && (c.exact || c.tensors == 0)
	c.tensors++
	c.total += t.Parameters
	for _, m := range matches {
		c.found += m.Parameters
		c.weighted += m.Cosine * float64(m.Parameters)
		if len(c.suspects) < 4 {
			c.suspects = append(c.suspects, m.Suspect)
		}
		c.relation = m.Relation
	}
	c.found = min(c.found, c.total)
}

func (c *cell) share() float64 {
	if c.total == 0 {
		return 0
	}
	return float64(c.found) / float64(c.total)
}

func (c *cell) cosine() float64 {
	if c.found == 0 {
		return 0
	}
	return min(1, c.weighted/float64(c.found))
}

// colour runs from pale to deep blue: half of similarity is spent on .9 to 1,
// where the differences lie that people ask about.
func (c *cell) colour() string {
	v := c.cosine()
	x := max(0, v) * 0.5 / 0.9
	if v > 0.9 {
		x = 0.5 + (v-0.9)*5
	}
	mix := func(a, b float64) int { return int(a + (b-a)*x + 0.5) }
	return fmt.Sprintf("rgb(%d,%d,%d)", mix(222, 8), mix(235, 64), mix(247, 129))
}

func (c *cell) text() string {
	if c.found == 0 && c.exact {
		return c.name + ": too small to compare, and not an exact copy"
	}
	if c.found == 0 {
		return c.name + ": not found"
	}
	return fmt.Sprintf("%s ← %s: %s, %s found, cosine %.4f", c.name, strings.Join(c.suspects, ", "), c.relation, share(c.share()), c.cosine())
}

const (
	cellSize   = 18
	cellGap    = 2
	labelWidth = 250
	perBand    = 36 // layers side by side; more go on below
)

// heatmap draws the grid as an SVG.
func heatmap(registered []Tensor, matches []api.TensorMatch) template.HTML {
	if len(registered) == 0 {
		return ""
	}
	g := newGrid(registered, matches)
	var b strings.Builder
	y := 0
	for band := range slices.Chunk(g.layers, perBand) {
		y = g.band(&b, band, y) + 14
	}
	y = g.singles(&b, y)
	columns := min(perBand, max(len(g.layers), 12))
	w := labelWidth + columns*(cellSize+cellGap)
	return template.HTML(fmt.Sprintf(`<svg class="heat" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="similarity of every tensor, layer by layer">`, w, y, w, y) +
		`<defs><pattern id="none" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="5" height="5" fill="#f3f3f1"/><line x1="0" y1="0" x2="0" y2="5" stroke="#c9c7c1" stroke-width="1.4"/></pattern></defs>` +
		b.String() + `</svg>`)
}

func (g *grid) band(b *strings.Builder, layers []int, y int) int {
	for i, l := range layers {
		x := labelWidth + i*(cellSize+cellGap) + cellSize/2
		fmt.Fprintf(b, `<text x="%d" y="%d" class="n">%d</text>`, x, y+11, l)
	}
	y += 16
	for _, r := range g.roles {
		label(b, r, y)
		for i, l := range layers {
			if c := g.cells[place{r, l}]; c != nil {
				c.draw(b, labelWidth+i*(cellSize+cellGap), y)
			}
		}
		y += cellSize + cellGap
	}
	return y
}

// singles draws what belongs to no layer, one line each, at most forty.
func (g *grid) singles(b *strings.Builder, y int) int {
	const most = 40
	for i, c := range g.single {
		if i == most {
			fmt.Fprintf(b, `<text x="0" y="%d" class="l">and %d more, in the table below</text>`, y+13, len(g.single)-most)
			return y + cellSize + cellGap
		}
		label(b, c.name, y)
		c.draw(b, labelWidth, y)
		y += cellSize + cellGap
	}
	return y
}

func label(b *strings.Builder, text string, y int) {
	r := []rune(cli.PrintableLine(text))
	if len(r) > 40 {
		r = append(append(slices.Clone(r[:12]), '…'), r[len(r)-27:]...)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" class="l">%s</text>`, labelWidth-8, y+13, template.HTMLEscapeString(string(r)))
}

// draw fills as much of the cell as was found; the rest is hatched.
func (c *cell) draw(b *strings.Builder, x, y int) {
	ground := `fill="url(#none)"`
	if c.exact && c.found == 0 {
		ground = `fill="#fff" stroke="#d9d7d1"`
	}
	fmt.Fprintf(b, `<g><title>%s</title><rect x="%d" y="%d" width="%d" height="%d" rx="2" %s/>`,
		template.HTMLEscapeString(cli.PrintableLine(c.text())), x, y, cellSize, cellSize, ground)
	if s := c.share(); s > 0 {
		h := max(2, int(s*cellSize+0.5))
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" rx="2" fill="%s"/>`, x, y+cellSize-h, cellSize, h, c.colour())
	}
	b.WriteString(`</g>`)
}

// legend is the colour scale, for the page.
func legend() []struct {
	Cosine string
	Colour template.CSS
} {
	var out []struct {
		Cosine string
		Colour template.CSS
	}
	for _, v := range []float64{0.3, 0.5, 0.7, 0.9, 0.95, 0.98, 1} {
		c := cell{total: 100, found: 100, weighted: v * 100}
		out = append(out, struct {
			Cosine string
			Colour template.CSS
		}{strconv.FormatFloat(v, 'g', -1, 64), template.CSS(c.colour())})
	}
	return out
}
