package index

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"

	"weightwarden/fingerprint"
	"weightwarden/fingerprint/invariant"
)

const (
	// mostSmall is how many small segments there may be: a look-up asks every one.
	mostSmall = 16
	// mostJoined bounds a segment that others are joined into, in bytes, and with it the memory that joining takes.
	mostJoined = 256 << 20
)

// compact builds segments anew that are mostly removed, and joins the last ones when there are many
// small ones, so that look-ups stay short. What is large is left as it is.
func (db *DB) compact() error {
	var keep []*segment
	removed := make(map[ref]bool)
	for s, seg := range db.segments {
		from := db.kept(s)
		if gone := len(seg.entries) - len(from.entries); 2*gone >= max(1, len(seg.entries)) {
			if len(from.entries) == 0 {
				continue
			}
			joined, err := joinSegments([]kept{from})
			if err != nil {
				return err
			}
			keep = append(keep, joined)
			continue
		}
		for i := range seg.entries {
			if db.removed[ref{s, i}] {
				removed[ref{len(keep), i}] = true
			}
		}
		keep = append(keep, seg)
	}
	db.segments, db.removed = keep, removed
	return db.joinLast()
}

// joinLast joins the last segments where there are many small ones: those that are together no larger
// than the one before them, so that a registry that grows is not written anew again and again.
func (db *DB) joinLast() error {
	small := 0
	for _, s := range db.segments {
		if len(s.raw) < mostJoined/2 {
			small++
		}
	}
	if small <= mostSmall {
		return nil
	}
	first, sum := len(db.segments)-1, len(db.segments[len(db.segments)-1].raw)
	for first > 0 {
		before := len(db.segments[first-1].raw)
		if before+sum > mostJoined || before > 2*sum && first <= mostSmall/2 {
			break
		}
		first, sum = first-1, sum+before
	}
	if first == len(db.segments)-1 {
		return nil
	}
	var parts []kept
	for s := first; s < len(db.segments); s++ {
		parts = append(parts, db.kept(s))
	}
	joined, err := joinSegments(parts)
	if err != nil {
		return err
	}
	for r := range db.removed {
		if r.segment >= first {
			delete(db.removed, r)
		}
	}
	db.segments = append(db.segments[:first:first], joined)
	return nil
}

// kept is what is left of a segment: the numbers of its entries.
type kept struct {
	segment *segment
	entries []int
}

func (db *DB) kept(s int) kept {
	p := kept{segment: db.segments[s]}
	for i := range p.segment.entries {
		if !db.removed[ref{s, i}] {
			p.entries = append(p.entries, i)
		}
	}
	return p
}

// joinSegments makes one segment of parts of several, without decoding fingerprints.
func joinSegments(parts []kept) (*segment, error) {
	var sections [sectionVectors + 1][]byte
	numbers := make([][]uint32, len(parts)) // of every part's entries, in the new segment
	next, blobs := uint32(0), 0
	for _, x := range parts {
		for _, i := range x.entries {
			blobs += len(x.segment.blobs[i])
		}
	}
	sections[sectionBlobs] = make([]byte, 0, blobs)
	for p, x := range parts {
		numbers[p] = make([]uint32, len(x.segment.entries))
		for i := range numbers[p] {
			numbers[p][i] = math.MaxUint32 // removed
		}
		for _, i := range x.entries {
			numbers[p][i] = next
			next++
			e, blob := &x.segment.entries[i], x.segment.blobs[i]
			line, err := json.Marshal(metaOf(e, blob))
			if err != nil {
				return nil, err
			}
			sections[sectionEntries] = append(append(sections[sectionEntries], line...), '\n')
			sections[sectionBlobs] = append(sections[sectionBlobs], blob...)
		}
	}
	for section, of := range map[int]func(*segment) table{
		sectionChunks:  func(s *segment) table { return s.chunks },
		sectionAligned: func(s *segment) table { return s.aligned },
		sectionContent: func(s *segment) table { return s.content },
	} {
		tables := make([]table, len(parts))
		for p := range parts {
			tables[p] = of(parts[p].segment)
		}
		sections[section] = joinTables(tables, numbers)
	}
	var err error
	if sections[sectionVectors], err = joinVectors(parts); err != nil {
		return nil, err
	}
	return decodeSegment(joinSections(sections[:]))
}

// joinTables merges sorted tables; numbers are what entries become.
func joinTables(tables []table, numbers [][]uint32) []byte {
	rows := 0
	for _, t := range tables {
		rows += t.len()
	}
	keys, entries := make([]byte, 8, 8+12*rows), make([]byte, 0, 4*rows)
	at := make([]int, len(tables))
	for {
		first, key := -1, uint64(0)
		for p, t := range tables {
			if at[p] < t.len() && (first < 0 || t.key(at[p]) < key) {
				first, key = p, t.key(at[p])
			}
		}
		if first < 0 {
			break
		}
		e := tables[first].entry(at[first])
		at[first]++
		if int(e) < len(numbers[first]) && numbers[first][e] != math.MaxUint32 {
			keys = binary.LittleEndian.AppendUint64(keys, key)
			entries = binary.LittleEndian.AppendUint32(entries, numbers[first][e])
		}
	}
	binary.LittleEndian.PutUint64(keys, uint64(len(entries)/4))
	return append(keys, entries...)
}

// joinVectors makes those of segments that were made before there were any.
func joinVectors(parts []kept) ([]byte, error) {
	var counts, out bytes.Buffer
	waves := invariant.NewWaves()
	for _, p := range parts {
		for _, i := range p.entries {
			list, err := p.segment.vectorsOf(i, waves)
			if err != nil {
				return nil, err
			}
			writeVectors(&counts, &out, list)
		}
	}
	return append(counts.Bytes(), out.Bytes()...), nil
}

func (s *segment) vectorsOf(entry int, waves invariant.Waves) ([]invariant.Vector, error) {
	if s.vectors != nil {
		return s.vectors.of(entry), nil
	}
	fp, err := fingerprint.Decode(s.blobs[entry])
	if err != nil {
		return nil, err
	}
	return waves.Vectors(fp.Layers), nil
}
