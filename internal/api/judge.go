package api

import "context"

// File is what a judge looks at: formats.Source, restated so that this package
// stays free of it.
type File interface {
	ReadAt(p []byte, off int64) (int, error)
	Size() int64
}

// Judge turns the bytes of one file into a verdict. internal/judge has the real
// one; an agent takes any.
type Judge interface {
	// Judge never returns a nil verdict without an error. A file that could not be
	// read in whole is INCONCLUSIVE or a match, never NO-MATCH.
	Judge(ctx context.Context, file File, quick bool) (*Verdict, error)
}
