//go:build !unix

package spool

// syncDir does nothing: these systems journal names themselves.
func syncDir(string) error { return nil }
