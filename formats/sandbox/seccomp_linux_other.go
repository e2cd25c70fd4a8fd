//go:build linux && !amd64 && !arm64

package sandbox

import "errors"

// seccomp fails: the filter was not made for this processor.
func seccomp() error { return errors.ErrUnsupported }
