//go:build linux && race

package sandbox_test

// The race detector maps terabytes of shadow memory.
const memory = 1 << 62
