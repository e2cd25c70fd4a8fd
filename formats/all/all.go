// Package all has the one list of every decoder and container.
package all

import "weightwarden/formats"

// Decoders returns every decoder and container of the product.
func Decoders() formats.Decoders {
	return formats.Decoders{
		Formats:    []formats.Decoder{},
		Containers: []formats.Container{},
	}
}
