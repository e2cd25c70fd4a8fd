package index

import (
	"context"
	"fmt"
	"slices"

	"weightwarden/fingerprint"
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
		s.shapes, s.lengths = make(map[int64][]fingerprint.Shape), make(map[int64]float64)
		for _, blob := range s.blobs {
			list, err := fingerprint.ShapesOf(blob)
			if err != nil {
				continue // it is refused when it is compared
			}
			for _, x := range list {
				s.lengths[x.Cols] += float64(x.Rows) * float64(x.Cols)
				if n := x.Rows * x.Cols; !slices.Contains(s.shapes[n], x) {
					s.shapes[n] = append(s.shapes[n], x)
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

// matchReshaped looks at the file once more, with its tensors in the shapes and number
// formats that registered models have, whatever the file says of them.
func (db *DB) matchReshaped(ctx context.Context, fp *fingerprint.Fingerprint, m *formats.Model, opt fingerprint.Options) ([]fingerprint.Match, error) {
	added, err := fingerprint.AddReshaped(ctx, m, fp, db.shapes, opt)
	if err != nil {
		return nil, err
	}
	return db.matchAdded(ctx, fp, added, "reshaped", "%d tensors match in the shape or number format of the registered model, not in those that the file gives")
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
