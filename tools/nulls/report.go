package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%d independent pairs, %d over the threshold; %d resampled trials of %.0f tensors, %d over; lowest bound 1e%.1f\n",
		len(r.pairs), r.over-r.trialOver, r.trials, r.perTrial, r.trialOver, r.bestLogP/math.Ln10)
}

// poisson is the probability that a Poisson variable of mean m is at least k.
func poissonTail(m float64, k int) float64 {
	below := 0.0
	for i := range k {
		lg, _ := math.Lgamma(float64(i + 1))
		below += math.Exp(float64(i)*math.Log(m) - m - lg)
	}
	return max(0, 1-below)
}

func (r *report) tail(k int) float64 {
	n := 0
	for hits, c := range r.histogram {
		if hits >= k {
			n += c
		}
	}
	return float64(n) / float64(max(1, r.tensors))
}

func factorial(k int) float64 {
	lg, _ := math.Lgamma(float64(k + 1))
	return math.Exp(lg)
}

func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString("# What independent models reach\n\nMade by `make nulls`; the numbers are of the run that wrote this file.\n\n")
	b.WriteString("The aligned test asks, for each sampled row of a suspect's tensor, whether the nearest of the registered rows is the one at\nthe same place. Independent models have about one such hit a tensor, whatever they were trained on; `docs/fingerprint-spec.md` has the proof of the bound.\n\n")
	fmt.Fprintf(&b, "%d independent pairs (other seeds, other data, other architectures, unrelated layers): **%d were taken for copies**.\n",
		len(r.pairs), r.over-r.trialOver)
	fmt.Fprintf(&b, "%d trials, model against model, with resampled pairs and shuffled labels (%.0f tensors each on average): **%d over the threshold** of 1e-12; the lowest bound reached was 1e%.1f.\n\n",
		r.trials, r.perTrial, r.trialOver, r.bestLogP/math.Ln10)
	b.WriteString("![hits of a tensor, measured and bound](nulls.svg)\n\n## Hits of one tensor\n\n| at least | measured share | Poisson(1) | bound 1/k! |\n|---|---|---|---|\n")
	for k := 1; k <= 10; k++ {
		fmt.Fprintf(&b, "| %d | %.3g | %.3g | %.3g |\n", k, r.tail(k), poissonTail(1, k), 1/factorial(k))
	}
	b.WriteString("\n## Pairs\n\n| registered | suspect | tensors | hits | hits a tensor | bound on p | verdict |\n|---|---|---|---|---|---|---|\n")
	for _, p := range r.pairs {
		if p.tensors == 0 {
			continue // other shapes: nothing to align
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %.2f | %.2g | %s |\n", p.a, p.b, p.tensors, p.hits,
			float64(p.hits)/float64(p.tensors), math.Exp(p.logP), p.relation)
	}
	b.WriteString("\n## Distances of independent rows\n\n")
	n, low, sum, squares := 0, -1, 0.0, 0.0
	for d, c := range r.distances {
		n += c
		if c > 0 && low < 0 {
			low = d
		}
		sum += float64(c) * float64(d)
		squares += float64(c) * float64(d) * float64(d)
	}
	if n > 0 {
		mean := sum / float64(n)
		fmt.Fprintf(&b, "%d pairs of rows of 256 bits: mean %.2f, standard deviation %.2f, least %d bits apart.\n", n, mean, math.Sqrt(squares/float64(n)-mean*mean), low)
	}
	return b.String()
}

// plot draws the share of tensors with at least k hits against the bound, on a
// logarithmic scale.
func (r *report) plot() string {
	const w, h, left, bottom, decades = 640, 360, 60, 40, 8
	x := func(k int) float64 { return left + float64(k)*(w-left-20)/10 }
	y := func(p float64) float64 {
		return 20 + min(decades, -math.Log10(max(p, 1e-30)))*(h-20-bottom)/decades
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`, w, h)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`, w, h)
	for d := 0; d <= decades; d += 2 {
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">1e-%d</text>`,
			left, w-20, y(math.Pow10(-d)), y(math.Pow10(-d)), left-6, y(math.Pow10(-d))+4, d)
	}
	curve := func(colour string, f func(int) float64) {
		var pts []string
		for k := 1; k <= 10; k++ {
			if p := f(k); p > 0 {
				pts = append(pts, fmt.Sprintf("%.1f,%.1f", x(k), y(p)))
			}
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>`, colour, strings.Join(pts, " "))
	}
	curve("#c33", func(k int) float64 { return 1 / factorial(k) })
	curve("#888", func(k int) float64 { return poissonTail(1, k) })
	for k := 1; k <= 10; k++ {
		if p := r.tail(k); p > 0 {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4" fill="#136"/>`, x(k), y(p))
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%d</text>`, x(k), h-bottom+16, k)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d">rows at the same place, at least (of 64)</text>`, left+160, h-6)
	fmt.Fprintf(&b, `<text x="%d" y="34" fill="#c33">bound 1/k!</text><text x="%d" y="52" fill="#888">Poisson(1)</text><text x="%d" y="70" fill="#136">● measured</text>`, w-140, w-140, w-140)
	b.WriteString("</svg>\n")
	return b.String()
}
