package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"

	"weightwarden/agent/destination"
	"weightwarden/agent/enforce"
	"weightwarden/agent/health"
	"weightwarden/agent/scan"
	"weightwarden/agent/state"
	"weightwarden/agent/watch"
	"weightwarden/internal/api"
)

// note goes with a hit into the spool: enough to restore the state store.
type note struct {
	Key   state.Key   `json:"key"`
	Entry state.Entry `json:"entry"`
}

// report makes an outcome durable and prints its line.
func (a *Agent) report(ctx context.Context, o scan.Outcome) error {
	v := o.Verdict
	entry := state.Entry{Stamp: o.Info.Stamp, Path: o.Path, Verdict: v.Verdict, Model: v.Model, Version: v.ModelVersion,
		Kind: v.Kind, Snapshot: o.Snapshot, Judged: time.Now().UTC()}
	if o.WriterActive || o.Quick {
		entry.Stamp.Ctime = 0 // not final: the next look reads it again
	}
	if !v.Verdict.IsHit() {
		a.printClear(o)
		if err := a.store.Put(o.Info.Key, entry, false); err != nil { // kept in memory, or judged again
			a.saved(err)
		}
		if !o.Quick {
			a.suspect(ctx, o)
		}
		return nil
	}
	a.markOpen(o.File)
	if p := a.previous(&o); p != nil && sameContent(*p, entry) {
		entry.Names = p.Names
		if p.HasName(o.Path) {
			entry.Epoch, entry.Seq = p.Epoch, p.Seq
			a.saved(a.store.Put(o.Info.Key, entry, true))
			return nil
		}
	}
	entry = entry.WithName(o.Path)
	hit := a.hit(o)
	a.act(o, &hit, &entry)
	if hit.Action != enforce.ActionQuarantine {
		a.guardCopy(o.File, o.Path)
	}
	stored, err := a.appendHit(ctx, hit, o.Info.Key, entry)
	if err != nil {
		return err
	}
	entry.Epoch, entry.Seq = stored.Epoch, stored.Seq
	a.saved(a.store.Put(o.Info.Key, entry, true))
	a.printHit(stored)
	return nil
}

// previous is what was known of a file when it was judged, or, where the state store was moved aside under the judge,
// what the spool still knows of it.
func (a *Agent) previous(o *scan.Outcome) *state.Entry {
	if o.Previous != nil {
		return o.Previous
	}
	a.sayDamage()
	if e, ok := a.store.Get(o.Info.Key); ok {
		return &e
	}
	return nil
}

// sameContent says whether an earlier hit already told all that now would tell,
// but for the place: only the change time moved (chmod, rename, a new registry).
func sameContent(p, now state.Entry) bool {
	return p.Seq > 0 && p.Model == now.Model && p.Version == now.Version && p.Verdict == now.Verdict &&
		p.Stamp.Size == now.Stamp.Size && p.Stamp.Mtime == now.Stamp.Mtime
}

// appendHit tries until the spool takes the hit: a full disk is said, and the
// pipeline waits meanwhile.
func (a *Agent) appendHit(ctx context.Context, hit api.Hit, key state.Key, entry state.Entry) (api.Hit, error) {
	b, err := json.Marshal(note{Key: key, Entry: entry})
	if err != nil {
		return api.Hit{}, err
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 30*time.Second) {
		stored, err := a.spool.Append(hit, b)
		if err == nil {
			if a.board.Clear("spool.write") {
				a.deps.Log.Info("the spool takes hits again")
			}
			return stored, nil
		}
		if a.board.Set("spool.write", health.Error, err.Error()) {
			a.deps.Log.Error("a hit cannot be written; trying on", "path", hit.Verdict.Path, "error", err)
		}
		select {
		case <-ctx.Done():
			return api.Hit{}, err
		case <-time.After(wait):
		}
	}
}

// remember puts a spooled hit into the state store, where it is not there yet.
func (a *Agent) remember(hit api.Hit, b []byte) error {
	var n note
	if len(b) == 0 || json.Unmarshal(b, &n) != nil || n.Key == (state.Key{}) {
		return nil
	}
	n.Entry.Epoch, n.Entry.Seq = hit.Epoch, hit.Seq
	if have, ok := a.store.Get(n.Key); ok && (have.Epoch == hit.Epoch && have.Seq >= hit.Seq || have.Judged.After(n.Entry.Judged)) {
		return nil
	}
	if err := a.store.Put(n.Key, n.Entry, false); err != nil { // kept in memory
		a.saved(err)
	}
	return nil
}

func (a *Agent) hit(o scan.Outcome) api.Hit {
	v := *o.Verdict
	v.Path = o.Path
	if len(v.Tensors) > 1000 {
		v.Tensors = v.Tensors[:1000]
	}
	h := api.Hit{
		ObservedAt: o.At.UTC(), Event: string(o.Op), Host: a.host,
		Process: a.known(o.Process), ProcessNote: o.ProcessNote, PreviousPath: o.OldPath,
		Destination: a.places.Classify(o.Path, o.Info.Major, o.Info.Minor),
		FileID:      fmt.Sprintf("%d:%d:%d", o.Info.Major, o.Info.Minor, o.Info.ID.Inode),
		Modified:    time.Unix(0, o.Info.Stamp.Mtime).UTC(), Snapshot: o.Snapshot, Verdict: v,
	}
	h.Destination = refine(h.Destination, o)
	h.User = a.users.of(o.Process, o.Info.UID)
	if o.Deleted {
		h.Verdict.Findings = append(append([]api.Finding{}, v.Findings...), api.Finding{Code: "agent.deleted", Severity: "warning",
			Text: "the file was deleted before it was judged; it was read through its open descriptor", Offset: -1})
	}
	if o.WriterActive {
		h.Verdict.Findings = append(append([]api.Finding{}, h.Verdict.Findings...), api.Finding{Code: "agent.writer_active", Severity: "warning",
			Text: "the file was still open for writing when it was judged", Offset: -1})
	}
	return h
}

// refine names what the file itself tells about its place: that it is an archive,
// or where it was downloaded from. A way off the machine counts more.
func refine(d api.Destination, o scan.Outcome) api.Destination {
	switch d.Class {
	case destination.Fixed, destination.RAM, destination.Unknown, destination.Download:
	default:
		return d
	}
	if o.File != nil {
		if origin, ok := destination.Origin(o.File); ok {
			d.Class, d.Detail = destination.Download, origin
			return d
		}
	}
	if packed, ok := destination.Packed(o.Verdict.Format); ok && o.Op != watch.Open {
		d.Class, d.Detail = destination.Archive, packed
	}
	return d
}

// known is what leaves the machine about a process: with the digest of its
// program, and without the secrets of its command lines.
func (a *Agent) known(p *api.Process) *api.Process {
	p = a.redactor.Process(p)
	if p != nil && p.ExeBLAKE3 == "" {
		p.ExeBLAKE3 = a.exes.Digest(p)
	}
	return p
}

// users turns numbers into names and remembers them for a while.
type users struct {
	mu    sync.Mutex
	names map[int]string
	until time.Time
}

// of says who is behind an event: the person who logged in where that is known,
// else the account of the process, else the owner of the file.
func (u *users) of(p *api.Process, owner int) api.User {
	switch {
	case p != nil && p.LoginUID != nil:
		return api.User{Name: u.name(*p.LoginUID), UID: *p.LoginUID, From: "login"}
	case p != nil && p.UID >= 0:
		return api.User{Name: u.name(p.UID), UID: p.UID, From: "process"}
	case owner >= 0:
		return api.User{Name: u.name(owner), UID: owner, From: "file_owner"}
	}
	return api.User{UID: -1}
}

func (u *users) name(uid int) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.names == nil || time.Now().After(u.until) {
		u.names, u.until = map[int]string{}, time.Now().Add(10*time.Minute)
	}
	name, ok := u.names[uid]
	if !ok {
		name = strconv.Itoa(uid)
		if account, err := user.LookupId(name); err == nil {
			name = account.Username
		}
		u.names[uid] = name
	}
	return name
}

func (a *Agent) printHit(h api.Hit) {
	if a.cfg.Report.JSON {
		a.printJSON(h)
		return
	}
	process := ""
	if h.Process != nil {
		process = h.Process.Name
	}
	a.printf("HIT verdict=%s model=%s version=%s path=%s user=%s process=%s\n", quote(string(h.Verdict.Verdict)),
		quote(h.Verdict.Model), quote(h.Verdict.ModelVersion), quote(h.Verdict.Path), quote(h.User.Name), quote(process))
}

func (a *Agent) printClear(o scan.Outcome) {
	v := o.Verdict
	a.deps.Log.Debug("judged", "samples", o.Quick, "verdict", v.Verdict, "path", o.Path, "format", v.Format, "size", v.Size, "seconds", v.Seconds)
	if o.Quick { // the full verdict follows
		return
	}
	if v.Verdict == api.Inconclusive {
		a.deps.Log.Warn("could not be judged", "path", o.Path, "format", v.Format, "why", v.Sentence)
	}
	if !a.cfg.Report.PrintClear || v.Format == "" || v.Format == "unknown" {
		return
	}
	if a.cfg.Report.JSON {
		a.printJSON(v)
		return
	}
	word := "CLEAR"
	if v.Verdict == api.Inconclusive {
		word = "UNSURE"
	}
	a.printf("%s verdict=%s path=%s\n", word, quote(string(v.Verdict)), quote(o.Path))
}

func (a *Agent) printJSON(v any) {
	b, err := json.Marshal(v)
	if err == nil {
		a.printf("%s\n", b)
	}
}

func (a *Agent) printf(format string, args ...any) {
	a.out.Lock()
	defer a.out.Unlock()
	fmt.Fprintf(a.deps.Out, format, args...)
}

// quote leaves plain words alone and quotes everything else as Go does, so that
// one line is one hit whatever a file is called.
func quote(s string) string {
	if s == "" {
		return "unknown"
	}
	plain := strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:+@%,~", r))
	}) < 0
	if plain {
		return s
	}
	return strconv.QuoteToASCII(s)
}
