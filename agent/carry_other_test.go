//go:build unix && !linux

package agent_test

import "errors"

func carry(string, string) error { return errors.New("only on Linux") }
