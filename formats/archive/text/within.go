package text

import (
	"context"
	"fmt"
	"io"
	"unicode/utf8"

	"weightwarden/formats"
	"weightwarden/formats/archive"
)

const (
	// searchBytes is how much of a text is searched, as for models within other files.
	searchBytes = 64 << 20
	blockBytes  = 1 << 20
	// leastRun is how many characters of the alphabet without others but line ends are worth decoding: no word is that long.
	leastRun = 2048
	// maxRuns bounds the runs of one text that are decoded.
	maxRuns = 16
)

// Within is base64 amid other text: an attachment of a mail, a value in JSON, a data URL, a cell of a notebook.
type Within struct{}

// ID implements formats.Container.
func (Within) ID() formats.ID { return "base64" }

// Sniff implements formats.Container: it is text, and not base64 from the start.
func (Within) Sniff(head []byte) bool {
	if len(head) < leastHead || Base64().Sniff(head) || Hex().Sniff(head) {
		return false
	}
	for i := 0; i < len(head); {
		r, n := utf8.DecodeRune(head[i:])
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == utf8.RuneError && n == 1 && i < len(head)-utf8.UTFMax {
			return false
		}
		i += n
	}
	return true
}

// Open implements formats.Container. Members are what long runs decode to.
func (w Within) Open(ctx context.Context, src formats.Source, limits formats.Limits) (*formats.Members, error) {
	size := min(src.Size(), searchBytes)
	s := scan{alphabet: base64Table()}
	buf := make([]byte, blockBytes)
	for at := int64(0); at < size && len(s.starts) < maxRuns; at += blockBytes {
		if err := ctx.Err(); err != nil {
			return nil, formats.Errorf(w.ID(), "search", at, err, "stopped")
		}
		b := buf[:min(blockBytes, size-at)]
		if err := formats.ReadFull(src, b, at); err != nil {
			return nil, formats.Errorf(w.ID(), "search", at, err, "cannot be read")
		}
		s.block(at, b)
	}
	if len(s.starts) == 0 {
		return nil, formats.Errorf(w.ID(), "search", 0, formats.ErrNotRecognized, "no long run of base64 in it")
	}
	var set archive.Set
	for _, start := range s.starts {
		if !formats.SpoolOf(ctx, limits).Member() {
			break
		}
		name := fmt.Sprintf("from byte %d on", start)
		set.Add(name, archive.NewUnpacked(ctx, archive.Stream{Format: w.ID(), Name: name, Packed: src.Size() - start,
			Open: func() (io.Reader, error) {
				return Base64().open(io.NewSectionReader(src, start, src.Size()-start)), nil
			}}, limits))
	}
	return set.Members(nil), nil
}

// Classes of bytes.
const (
	other = iota
	letter
	lineEnd
)

func base64Table() (t [256]byte) {
	for c := range 256 {
		if isBase64(byte(c)) {
			t[c] = letter
		}
	}
	t['\n'], t['\r'] = lineEnd, lineEnd
	return t
}

// headLines are how many lines of a run tell where it begins: what stands in front of base64 that is broken into lines
// ("Content-Transfer-Encoding: base64") may end in letters, but its line has another length.
const headLines = 4

// scan finds runs, block by block.
type scan struct {
	alphabet [256]byte
	starts   []int64

	letters int              // of the run
	line    int              // letters of the line
	ends    int              // line feeds since the last letter
	lines   int              // begun, up to headLines
	at      [headLines]int64 // where they begin
	length  [headLines]int
}

func (s *scan) block(at int64, b []byte) {
	for i, c := range b {
		switch s.alphabet[c] {
		case letter:
			if s.line == 0 {
				s.begin(at + int64(i))
			}
			s.line++
			if s.letters++; s.letters == leastRun {
				s.take()
			}
		case lineEnd:
			if c == '\n' {
				s.ends++
			}
			if s.line > 0 && s.lines <= headLines {
				s.length[s.lines-1] = s.line
			}
			s.line = 0
			if s.ends > 1 {
				s.reset()
			}
		default:
			s.reset()
		}
	}
}

func (s *scan) reset() {
	s.letters, s.line, s.ends, s.lines = 0, 0, 0, 0
}

// begin notes that a line begins.
func (s *scan) begin(at int64) {
	s.ends = 0
	if s.lines < headLines {
		s.at[s.lines], s.length[s.lines] = at, 0
	}
	s.lines = min(s.lines+1, headLines+1)
}

// take takes the run once it is long enough, from its first line of the length of those that follow.
func (s *scan) take() {
	if len(s.starts) >= maxRuns {
		return
	}
	first := 0
	for i := min(s.lines, headLines) - 2; i >= 0; i-- {
		next := s.length[i+1]
		if next == 0 { // the line under way
			next = max(s.line, s.length[i])
		}
		if s.length[i] != next {
			first = i + 1
			break
		}
	}
	s.starts = append(s.starts, s.at[first])
}
