// Package formatstest holds what the tests of every format share: a conformance
// suite that damages good files in every way it can think of and checks that the
// decoder keeps its promises, the same checks as a fuzz target, sources in memory
// with siblings, sources of any size that hold a header and then zeros, and
// builders of tiny files.
package formatstest
