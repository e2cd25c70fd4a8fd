//go:build !unix

package durable

import "errors"

func makePipe(string) error { return errors.ErrUnsupported }
