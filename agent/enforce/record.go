package enforce

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"weightwarden/internal/api"
	"weightwarden/internal/durable"
)

// The states of a Record.
const (
	StateMoving   = "moving"   // begun; a crash in between leaves the file where it was or in quarantine
	StateHeld     = "held"     // the file is in quarantine
	StateRestored = "restored" // the file was brought back by hand
	StateRefused  = "refused"  // the file was left where it is, see Why
)

// Record is the evidence of one quarantined file.
type Record struct {
	SchemaVersion int       `json:"schema_version"`
	ID            string    `json:"id"`
	State         string    `json:"state"`
	Why           string    `json:"why,omitempty"`
	Path          string    `json:"path"` // where the file was, and is brought back to
	Held          string    `json:"held"` // where it lies in quarantine
	Size          int64     `json:"size"`
	Modified      time.Time `json:"modified"`
	Device        uint64    `json:"device"`
	Inode         uint64    `json:"inode"`
	UID           int       `json:"uid"`
	OtherNames    int       `json:"other_names,omitempty"` // hard links that still lead to the content
	Taken         time.Time `json:"taken"`
	Restored      time.Time `json:"restored,omitzero"`
	Hit           api.Hit   `json:"hit"`
}

const (
	recordsMax    = 100_000
	recordBytes   = 16 << 20
	recordsFolder = "quarantine"
	filesFolder   = "files"
)

// ErrNoRecord means that nothing was quarantined under an ID.
var ErrNoRecord = errors.New("nothing was quarantined under this id")

// Quarantine is the evidence of all files that were moved aside, one JSON file
// each, below the state folder of the agent. The files themselves lie on their own
// file systems.
type Quarantine struct {
	dir  string // of records
	home string // of files on the same file system as the records
	own  string // configured folder for files, "" for none
}

// NewQuarantine keeps records below stateDir. filesDir is where files are put
// where it lies on the same file system, "" for nowhere special.
func NewQuarantine(stateDir, filesDir string) *Quarantine {
	dir := filepath.Join(stateDir, recordsFolder)
	return &Quarantine{dir: dir, home: filepath.Join(dir, filesFolder), own: filesDir}
}

// List returns the records, newest first. Damaged ones are the error.
func (q *Quarantine) List() ([]Record, error) {
	names, err := filepath.Glob(filepath.Join(q.dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var out []Record
	var errs []error
	for _, n := range names[:min(len(names), recordsMax)] {
		r, err := q.Show(strings.TrimSuffix(filepath.Base(n), ".json"))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, r)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Taken.After(out[j].Taken) })
	return out, errors.Join(errs...)
}

// Show returns one record.
func (q *Quarantine) Show(id string) (Record, error) {
	if id == "" || id != filepath.Base(id) || strings.HasPrefix(id, ".") {
		return Record{}, fmt.Errorf("%w: %.80q", ErrNoRecord, id)
	}
	path := filepath.Join(q.dir, id+".json")
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return Record{}, fmt.Errorf("%w: %.80q", ErrNoRecord, id)
	}
	if err == nil && info.Size() > recordBytes {
		err = fmt.Errorf("%d bytes are too many for a record", info.Size())
	}
	if err != nil {
		return Record{}, fmt.Errorf("record %s: %w", id, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Record{}, fmt.Errorf("record %s: %w", id, err)
	}
	var r Record
	if err := json.Unmarshal(b, &r); err != nil || r.ID != id {
		return Record{}, fmt.Errorf("record %s is damaged: %w", id, errors.Join(err))
	}
	return r, nil
}

// find returns the newest record that f accepts.
func (q *Quarantine) find(f func(*Record) bool) (Record, bool) {
	list, _ := q.List() // a damaged record answers for nothing
	for i := range list {
		if f(&list[i]) {
			return list[i], true
		}
	}
	return Record{}, false
}

// Settle decides what a crash left open, and returns the records of the files that
// lie in quarantine.
func (q *Quarantine) Settle() ([]Record, error) {
	list, err := q.List()
	errs := []error{err}
	var held []Record
	for _, r := range list {
		if r.State != StateMoving && r.State != StateHeld {
			continue
		}
		_, serr := os.Lstat(r.Held)
		before := r.State
		switch {
		case serr == nil:
			r.State = StateHeld
			held = append(held, r)
		case errors.Is(serr, os.ErrNotExist) && r.State == StateMoving:
			r.State, r.Why = StateRefused, "the agent ended before the file was moved"
		}
		if r.State != before {
			errs = append(errs, q.put(r))
		}
	}
	return held, errors.Join(errs...)
}

// put writes a record so that a crash leaves the old one or the new one.
func (q *Quarantine) put(r Record) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(q.dir, 0o700); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(q.dir, r.ID+".json"), b, 0o600)
}
