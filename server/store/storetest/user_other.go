//go:build !unix

package storetest

import (
	"syscall"
	"testing"
)

// unprivileged: only Unix knows a root that PostgreSQL refuses to run as.
func unprivileged(testing.TB, string) *syscall.SysProcAttr { return nil }
