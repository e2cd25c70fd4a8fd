//go:build !unix

package durable

// SyncDir does nothing: these systems journal names themselves.
func SyncDir(string) error { return nil }
