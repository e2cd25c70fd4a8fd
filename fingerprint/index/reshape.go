package index

import (
	"context"
	"fmt"
	"slices"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/sketch"
	"weightwarden/formats"
)

// byElements returns the shapes of a segment's matrices by their number of elements.
// The list is made when it is first wanted: few files need it.
func (s *segment) byElements() map[int64][]fingerprint.Shape {
	s.listShapes()
	return s.shapes
}

func (s *segment) listShapes() {
	s.shapesOnce.Do(func() {
		s.shapes, s.high, s.lengths = make(map[int64][]fingerprint.Shape), make(map[int64][]fingerprint.Shape), make(map[int64]float64)
		for _, blob := range s.blobs {
			list, err := fingerprint.ShapesOf(blob)
			if err != nil {
				continue // it is refused when it is compared
			}
			all := 0.0
			for _, x := range list {
				all += float64(x.Rows) * float64(x.Cols)
			}
			for _, x := range list {
				if transposed, _ := sketch.Orientation(x.Rows, x.Cols); !transposed {
					s.lengths[x.Cols] += float64(x.Rows) * float64(x.Cols) / all
				}
				if n := x.Rows * x.Cols; !slices.Contains(s.shapes[n], x) {
					s.shapes[n], s.high[x.Rows] = append(s.shapes[n], x), append(s.high[x.Rows], x)
				}
			}
		}
	})
}

// shapes lists the shapes of registered matrices of so many elements.
func (db *DB) shapes(elements int64) []fingerprint.Shape {
	var out []fingerprint.Shape
	for _, s := range db.segments {
		for _, x := range s.byElements()[elements] {
			if !slices.Contains(out, x) {
				out = append(out, x)
			}
		}
	}
	return out
}

// highShapes lists the shapes of registered matrices of so many rows.
func (db *DB) highShapes(rows int64) []fingerprint.Shape {
	var out []fingerprint.Shape
	for _, s := range db.segments {
		s.listShapes()
		for _, x := range s.high[rows] {
			if !slices.Contains(out, x) {
				out = append(out, x)
			}
		}
	}
	return out
}

// What the evidence calls it.
const (
	reshaped     = "reshaped"
	reshapedText = "%d tensors match in the shape, order of axes or number format of the registered model, or together, not as the file gives them"
)

// matchReshaped looks at the file once more, with its tensors in the shapes and number
// formats that registered models have, whatever the file says of them.
func (db *DB) matchReshaped(ctx context.Context, fp *fingerprint.Fingerprint, m *formats.Model, opt fingerprint.Options) ([]fingerprint.Match, error) {
	added, err := fingerprint.AddReshaped(ctx, m, fp, db.shapes, db.highShapes, opt)
	if err != nil {
		return nil, err
	}
	return db.matchAdded(ctx, fp, added, reshaped, reshapedText)
}

// complete looks for the rest of models of which a part was found: in other shapes, and in
// numbers one behind another.
func (db *DB) complete(ctx context.Context, fp *fingerprint.Fingerprint, m *formats.Model, opt fingerprint.Options, matches []fingerprint.Match) ([]fingerprint.Match, error) {
	var registered []*fingerprint.Fingerprint
	rest, high := make(map[int64][]fingerprint.Shape), make(map[int64][]fingerprint.Shape)
	for _, match := range matches[:min(len(matches), refined)] {
		reg, ok := db.Fingerprint(match.Model, match.Version, match.Artifact)
		if !ok || match.Relation != fingerprint.Partial {
			continue
		}
		registered = append(registered, reg)
		for _, s := range match.Missing(reg) {
			rest[s.Rows*s.Cols] = append(rest[s.Rows*s.Cols], s)
			high[s.Rows] = append(high[s.Rows], s)
		}
	}
	if len(registered) == 0 {
		return matches, nil
	}
	added, err := fingerprint.AddReshaped(ctx, m, fp, func(elements int64) []fingerprint.Shape { return rest[elements] }, func(rows int64) []fingerprint.Shape { return high[rows] }, opt)
	if err != nil {
		return nil, err
	}
	if more, err := db.matchAdded(ctx, fp, added, reshaped, reshapedText); err != nil || len(more) > 0 {
		return more, err
	}
	if more, err := db.matchThese(ctx, fp, m, opt, registered); err != nil || len(more) > 0 {
		return more, err
	}
	return matches, nil
}

// matchAdded compares a fingerprint with what a second look added to it, and of that
// keeps what matched.
func (db *DB) matchAdded(ctx context.Context, fp *fingerprint.Fingerprint, added *fingerprint.Added, kind, text string) ([]fingerprint.Match, error) {
	if added.Len() == 0 {
		return nil, nil
	}
	matches, err := db.Match(ctx, fp)
	if err != nil {
		return nil, err
	}
	n, err := added.Keep(ctx, matches)
	if err != nil || n == 0 {
		return nil, err
	}
	if matches, err = db.Match(ctx, fp); err != nil || len(matches) == 0 {
		return nil, err
	}
	matches[0].Evidence = append(matches[0].Evidence, fingerprint.Evidence{Kind: kind, Value: float64(n), Unit: "tensors", Text: fmt.Sprintf(text, n)})
	return matches, nil
}
