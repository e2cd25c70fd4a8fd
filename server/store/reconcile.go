package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weightwarden/internal/api"
)

// Difference is one point in which the registry, what is allowed and what agents saw
// do not agree. docs/registry.md defines every kind and reason.
type Difference struct {
	Kind       string // unregistered, misplaced, missing
	Reason     string // one of the Why constants
	Model      string
	Version    string
	Agent      string
	Host       string
	Path       string
	Permit     string // id of the authorisation that it is about
	Hit        string // last one on the copy
	Since      time.Time
	LastSeen   time.Time // zero: never
	By         string    // who announced it
	Unobserved bool      // the agent that would see it is not heard or not active
}

// Kinds of differences.
const (
	Unregistered = "unregistered"
	Misplaced    = "misplaced"
	Missing      = "missing"
)

// Reasons of differences.
const (
	WhyAnnounced    = "announced"              // unregistered: a version that a webhook told of
	WhyNoModel      = "model_not_registered"   // unregistered: a copy of a model that the registry has no more
	WhyNoVersion    = "version_not_registered" // unregistered: a copy of a version that it has no more
	WhyNeverAllowed = "never_authorised"       // misplaced: nobody allowed this place
	WhyEnded        = "authorisation_ended"    // misplaced: allowed once; expired or revoked
	WhyUnapproved   = "awaits_approval"        // misplaced: allowed by one person where two are needed
	WhyCopyUnseen   = "copy_not_seen"          // missing: an allowed copy that no agent saw of late
	WhyPermitIdle   = "permit_unused"          // missing: an authorisation under which no copy was ever seen
	WhyNowhere      = "version_not_seen"       // missing: a registered version of which no copy was ever seen
)

// UnseenAfter is how long a copy may go unseen before it counts as missing, where
// nobody says otherwise.
const UnseenAfter = 30 * 24 * time.Hour

// WhyText says a reason to people.
func WhyText(reason string) string {
	switch reason {
	case WhyAnnounced:
		return "announced, not registered"
	case WhyNoModel:
		return "a copy of a model that the registry does not have any more"
	case WhyNoVersion:
		return "a copy of a version that the registry does not have any more"
	case WhyNeverAllowed:
		return "nobody allowed a copy here"
	case WhyEnded:
		return "was allowed here; the authorisation has expired or was revoked"
	case WhyUnapproved:
		return "the authorisation waits for a second person"
	case WhyCopyUnseen:
		return "no agent has seen this allowed copy of late"
	case WhyPermitIdle:
		return "allowed, but no copy was ever seen there"
	case WhyNowhere:
		return "registered, but no copy was ever seen anywhere"
	}
	return reason
}

// DifferenceFilter selects differences. The zero value with a Limit selects all.
type DifferenceFilter struct {
	Kind   string        // "" for every kind
	Model  string        // "" for every model
	Unseen time.Duration // what was not seen for so long is missing
	After  string        // cursor: as Differences returned it
	Limit  int
}

// differ finds differences in steps, each over another table, and stops at the limit.
type differ struct {
	s     *Store
	f     DifferenceFilter
	now   time.Time
	auths map[string][]Authorisation // by model, revoked and expired ones too
	tier  map[string]int
	out   []Difference
	next  string
}

// Differences compares the registry, the authorisations and the copies that agents
// saw. next is where to go on, "" at the end. Copies of public models are at home
// anywhere and never differ.
func (s *Store) Differences(ctx context.Context, f DifferenceFilter) (list []Difference, next string, err error) {
	d := &differ{s: s, f: f, now: s.now()}
	if err := d.load(ctx); err != nil {
		return nil, "", err
	}
	steps := []func(context.Context, string) error{d.copies, d.permits, d.versions, d.announced}
	first, key, _ := strings.Cut(f.After, ":")
	for i, step := range steps {
		name := fmt.Sprint(i)
		if first > name {
			continue
		}
		if first != name {
			key = ""
		}
		if err := step(ctx, key); err != nil {
			return nil, "", err
		}
		if d.next != "" {
			return d.out, name + ":" + d.next, nil
		}
	}
	return d.out, "", nil
}

func (d *differ) load(ctx context.Context) error {
	list, err := d.s.Authorisations(ctx, d.f.Model)
	if err != nil {
		return err
	}
	d.auths, d.tier = map[string][]Authorisation{}, map[string]int{}
	for _, a := range list {
		d.auths[a.Model] = append(d.auths[a.Model], a)
	}
	rows, err := d.s.query(ctx, "SELECT name, tier FROM model WHERE ? = '' OR name = ?", d.f.Model, d.f.Model)
	models, err := collect(rows, err, func(r *sql.Rows) (NameCount, error) {
		var x NameCount
		return x, r.Scan(&x.Name, &x.Count)
	})
	for _, m := range models {
		d.tier[m.Name] = m.Count
	}
	return err
}

func (d *differ) wants(kind string) bool { return d.f.Kind == "" || d.f.Kind == kind }

// add keeps a difference. full says that no further one is taken; key is where the
// step goes on.
func (d *differ) add(x Difference, key string) (full bool) {
	if !d.wants(x.Kind) {
		return false
	}
	d.out = append(d.out, x)
	if len(d.out) == d.f.Limit {
		d.next = key
	}
	return d.next != ""
}

// inForce reports whether an authorisation counts now.
func (d *differ) inForce(a *Authorisation) bool {
	return a.Revoked.IsZero() && a.Expires.After(d.now) && !d.unapproved(a)
}

func (d *differ) unapproved(a *Authorisation) bool {
	tier, known := d.tier[a.Model]
	return (tier == 1 || !known) && a.ApprovedBy == ""
}

// copyPart is how many copies are read at once, so that no reader holds the database
// while a long answer is made.
const copyPart = 2000

type seenCopy struct {
	Copy
	key        string // in the table, beside the agent
	process    string // of the last hit; "" where that was purged
	kind       string // of the model; "" where it is not registered
	registered bool   // the version is
	silent     bool
}

// copies finds what differs for one copy.
func (d *differ) copies(ctx context.Context, key string) error {
	agent, path, _ := strings.Cut(key, "/")
	for {
		list, err := d.someCopies(ctx, d.f.Model, agent, path, false)
		if err != nil {
			return err
		}
		for _, c := range list {
			agent, path = c.Agent, c.key
			if x, ok := d.judge(c); ok && d.add(x, agent+"/"+path) {
				return nil
			}
		}
		if len(list) < copyPart {
			return nil
		}
	}
}

// someCopies reads the next copies of a model ("": of all) after a place in the table.
func (d *differ) someCopies(ctx context.Context, model, agent, path string, gone bool) ([]seenCopy, error) {
	where, args := "(c.agent > ? OR c.agent = ? AND c.path_key > ?)", []any{micros(d.now.Add(-SilentAfter)), agent, agent, path}
	if !gone {
		where += " AND c.gone = 0"
	}
	if model != "" {
		where, args = where+" AND c.model = ?", append(args, model)
	}
	rows, err := d.s.query(ctx, `SELECT c.agent, c.path_key, c.path, c.host, c.model, c.version, c.user_name, c.first_seen, c.last_seen, c.last_hit, c.authorised,
		COALESCE(h.process, ''), COALESCE(m.kind, ''), CASE WHEN v.version IS NULL THEN 0 ELSE 1 END, CASE WHEN a.state = 'active' AND a.seen >= ? THEN 0 ELSE 1 END
		FROM copy c LEFT JOIN hit h ON h.id = c.last_hit LEFT JOIN model m ON m.name = c.model
		LEFT JOIN model_version v ON v.model = c.model AND v.version = c.version LEFT JOIN agent a ON a.id = c.agent
		WHERE `+where+" ORDER BY c.agent, c.path_key LIMIT ?", append(args, copyPart)...)
	return collect(rows, err, func(r *sql.Rows) (seenCopy, error) {
		var c seenCopy
		var first, last, registered, silent int64
		err := r.Scan(&c.Agent, &c.key, &c.Path, &c.Host, &c.Model, &c.Version, &c.User, &first, &last, &c.LastHit, &c.Authorised, &c.process, &c.kind, &registered, &silent)
		c.FirstSeen, c.LastSeen, c.registered, c.silent = fromMicros(first), fromMicros(last), registered != 0, silent != 0
		return c, err
	})
}

// judge says how a copy differs, if it does.
func (d *differ) judge(c seenCopy) (Difference, bool) {
	x := Difference{Model: c.Model, Version: c.Version, Agent: c.Agent, Host: c.Host, Path: c.Path, Hit: c.LastHit, Since: c.FirstSeen, LastSeen: c.LastSeen, Unobserved: c.silent}
	switch {
	case c.kind == api.KindPublic:
		return x, false
	case c.kind == "":
		x.Kind, x.Reason = Unregistered, WhyNoModel
		return x, true
	case !c.registered:
		x.Kind, x.Reason = Unregistered, WhyNoVersion
		return x, true
	}
	x.Permit, x.Reason = d.permitFor(c)
	switch {
	case x.Reason != "":
		x.Kind = Misplaced
	case c.LastSeen.Before(d.now.Add(-d.f.Unseen)):
		x.Kind, x.Reason = Missing, WhyCopyUnseen
	default:
		return x, false
	}
	return x, true
}

// permitFor returns the authorisation in force that covers a copy, or why there is
// none with the one that comes nearest.
func (d *differ) permitFor(c seenCopy) (id, why string) {
	id, why = "", WhyNeverAllowed
	list := d.auths[c.Model]
	for i := range list {
		a := &list[i]
		switch {
		case !covers(a, &c):
		case d.inForce(a):
			return a.ID, ""
		case a.Revoked.IsZero() && a.Expires.After(d.now):
			id, why = a.ID, WhyUnapproved
		case why == WhyNeverAllowed:
			id, why = a.ID, WhyEnded
		}
	}
	return id, why
}

// covers is matches for a copy. Which program made it is known while its last hit is
// kept; after that what was found when it came counts.
func covers(a *Authorisation, c *seenCopy) bool {
	program := matches(a.Program, c.process) || c.process == "" && c.Authorised == a.ID
	return program && matches(a.Host, c.Host) && matches(a.User, c.User) && matches(a.Path, c.Path)
}

// announced finds versions that webhooks told of and nobody registered.
func (d *differ) announced(ctx context.Context, after string) error {
	if !d.wants(Unregistered) {
		return nil
	}
	list, err := d.s.Announcements(ctx, d.f.Model, strings.TrimSuffix(after, "/"), false, d.f.Limit)
	for _, a := range list {
		if d.add(Difference{Kind: Unregistered, Reason: WhyAnnounced, Model: a.Model, Version: a.Version, Since: a.Announced, By: a.By}, a.ID+"/") {
			break
		}
	}
	return err
}

// permits finds authorisations that cover no copy that is known: either nobody needs
// them, or no agent looks where they hold. Models come by name, so that the copies of
// each are read once.
func (d *differ) permits(ctx context.Context, after string) error {
	if !d.wants(Missing) {
		return nil
	}
	afterModel, afterID, _ := strings.Cut(after, "/")
	for _, model := range slices.Sorted(maps.Keys(d.auths)) {
		if model < afterModel {
			continue
		}
		idle, err := d.idle(ctx, model)
		if err != nil {
			return err
		}
		for _, a := range idle {
			if model == afterModel && a.ID <= afterID {
				continue
			}
			if d.add(Difference{Kind: Missing, Reason: WhyPermitIdle, Model: model, Host: a.Host, Path: a.Path, Permit: a.ID, Since: a.Created}, model+"/"+a.ID) {
				return nil
			}
		}
	}
	return nil
}

// idle lists the authorisations of a model, oldest first, that were long enough in force
// and cover no copy.
func (d *differ) idle(ctx context.Context, model string) ([]Authorisation, error) {
	var old []Authorisation
	for _, a := range slices.Backward(d.auths[model]) { // they come newest first
		if d.inForce(&a) && a.Created.Before(d.now.Add(-d.f.Unseen)) {
			old = append(old, a)
		}
	}
	for agent, path := "", ""; len(old) > 0; {
		list, err := d.someCopies(ctx, model, agent, path, true)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			agent, path = c.Agent, c.key
			old = slices.DeleteFunc(old, func(a Authorisation) bool { return covers(&a, &c) })
		}
		if len(list) < copyPart {
			break
		}
	}
	return old, nil
}

// versions finds registered versions of which no copy is known.
func (d *differ) versions(ctx context.Context, after string) error {
	if !d.wants(Missing) {
		return nil
	}
	model, version, _ := strings.Cut(after, "/")
	rows, err := d.s.query(ctx, `SELECT v.model, v.version, v.created FROM model_version v JOIN model m ON m.name = v.model
		WHERE m.kind <> 'public' AND v.created < ? AND (? = '' OR v.model = ?) AND (v.model > ? OR v.model = ? AND v.version > ?)
		AND NOT EXISTS (SELECT 1 FROM copy c WHERE c.model = v.model AND c.version = v.version) ORDER BY v.model, v.version LIMIT ?`,
		micros(d.now.Add(-d.f.Unseen)), d.f.Model, d.f.Model, model, model, version, d.f.Limit)
	list, err := collect(rows, err, func(r *sql.Rows) (Difference, error) {
		x := Difference{Kind: Missing, Reason: WhyNowhere}
		var created int64
		err := r.Scan(&x.Model, &x.Version, &created)
		x.Since = fromMicros(created)
		return x, err
	})
	for _, x := range list {
		if d.add(x, x.Model+"/"+x.Version) {
			break
		}
	}
	return err
}
