//go:build !linux

package destination

import "weightwarden/internal/api"

// Classify says where path lies, by the names of folders alone: this system's
// device tables are not read.
func (c Classifier) Classify(path string, _, _ int) api.Destination {
	d := api.Destination{Class: Unknown}
	c.byPath(path, &d)
	return d
}
