package fingerprint

import (
	"context"
	"crypto/sha256"
	"io"

	"github.com/zeebo/blake3"

	"weightwarden/formats"
)

// DigestFile computes BLAKE3 (as b3sum prints it) and SHA-256 of the whole file,
// for exchange with other tools. progress may be nil.
func DigestFile(ctx context.Context, src formats.Source, progress func(int64)) (*FileDigests, error) {
	b3, s256 := blake3.New(), sha256.New()
	r := io.NewSectionReader(src, 0, src.Size())
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := r.Read(buf)
		b3.Write(buf[:n])
		s256.Write(buf[:n])
		if progress != nil && n > 0 {
			progress(int64(n))
		}
		if err == io.EOF {
			return &FileDigests{BLAKE3: Digest(b3.Sum(nil)), SHA256: Digest(s256.Sum(nil))}, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
