//go:build !linux

package process

import (
	"context"
	"errors"
)

// Connector is a Linux interface; here it cannot be had.
type Connector struct{}

// OpenConnector fails on this system.
func OpenConnector() (*Connector, error) {
	return nil, errors.New("this system has no stream of process events")
}

// Feed does nothing.
func (*Connector) Feed(context.Context, *Cache) {}
