package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// WebhookSource is a registry elsewhere that tells of new versions.
type WebhookSource struct {
	ID        string
	Name      string
	Provider  string
	Secret    []byte
	Created   time.Time
	CreatedBy string
	LastUsed  time.Time // last webhook that proved itself
}

// Announcement is a version of a model that a source told of.
type Announcement struct {
	ID        string
	Source    string
	By        string // the source's name
	Provider  string
	Model     string
	Version   string
	Kind      string
	Title     string
	Origin    string
	Who       string
	Announced time.Time
	Closed    time.Time // registered or dismissed
	ClosedBy  string
	Note      string // why it was dismissed; "" where it was registered
}

// MaxOpenAnnouncements bounds what one source may have waiting.
const MaxOpenAnnouncements = 10_000

// ErrTooManyOpen is wrapped by errors that say that a source has MaxOpenAnnouncements waiting.
var ErrTooManyOpen = errors.New("register or dismiss some first")

// deliveryKept is how long a delivery is remembered: far longer than its signed time
// is good.
const deliveryKept = 24 * time.Hour

const sourceColumns = "id, name, provider, secret, created, created_by, last_used"

func scanSource(row interface{ Scan(...any) error }) (WebhookSource, error) {
	var x WebhookSource
	var created, used int64
	err := row.Scan(&x.ID, &x.Name, &x.Provider, &x.Secret, &created, &x.CreatedBy, &used)
	x.Created, x.LastUsed = fromMicros(created), fromMicros(used)
	return x, err
}

// AddWebhookSource stores a source.
func (s *Store) AddWebhookSource(ctx context.Context, by Actor, x WebhookSource) (WebhookSource, error) {
	x.ID, x.Created, x.CreatedBy = NewID(), s.now().UTC(), by.ID
	err := s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "INSERT INTO webhook_source ("+sourceColumns+") VALUES (?, ?, ?, ?, ?, ?, 0)", x.ID, x.Name, x.Provider, x.Secret, micros(x.Created), x.CreatedBy)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "webhook.add", x.ID, map[string]any{"name": x.Name, "provider": x.Provider})
	})
	return x, err
}

// WebhookSource returns one source, or ErrNotFound.
func (s *Store) WebhookSource(ctx context.Context, id string) (WebhookSource, error) {
	x, err := scanSource(s.queryRow(ctx, "SELECT "+sourceColumns+" FROM webhook_source WHERE id = ?", id))
	if err != nil {
		return x, notFound(err, "webhook source", id)
	}
	return x, nil
}

// WebhookSources lists the sources by name.
func (s *Store) WebhookSources(ctx context.Context) ([]WebhookSource, error) {
	rows, err := s.query(ctx, "SELECT "+sourceColumns+" FROM webhook_source ORDER BY name, id")
	return collect(rows, err, func(r *sql.Rows) (WebhookSource, error) { return scanSource(r) })
}

// DeleteWebhookSource ends a source. What it announced stays.
func (s *Store) DeleteWebhookSource(ctx context.Context, by Actor, id string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, "DELETE FROM webhook_source WHERE id = ?", id)
		if err == nil && n == 0 {
			err = fmt.Errorf("webhook source %.100q: %w", id, ErrNotFound)
		}
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "webhook.delete", id, nil)
	})
}

// Announce keeps what a source told, each version once and a delivery ("": none) once.
// What is registered already is nobody's task. added counts what is new; ErrTooManyOpen
// says that too much of it waits.
func (s *Store) Announce(ctx context.Context, src WebhookSource, remote, delivery string, list []Announcement) (added int, err error) {
	by := Actor{Kind: "webhook", ID: src.ID, Name: src.Name, Remote: remote}
	err = s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		added = 0
		now := micros(s.now())
		if delivery != "" {
			n, err := tx.exec(ctx, "INSERT INTO webhook_delivery (source, delivery, received) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", src.ID, delivery, now)
			if err != nil || n == 0 {
				return err
			}
		}
		if _, err := tx.exec(ctx, "UPDATE webhook_source SET last_used = ? WHERE id = ?", now, src.ID); err != nil {
			return err
		}
		for i := range list {
			ok, err := tx.announce(ctx, by, src.Provider, &list[i])
			if err != nil {
				return err
			}
			if ok {
				added++
			}
		}
		return nil
	})
	return added, err
}

func (t *Tx) announce(ctx context.Context, by Actor, provider string, a *Announcement) (bool, error) {
	var known, open int
	if err := t.queryRow(ctx, "SELECT COUNT(*) FROM model_version WHERE model = ? AND version = ?", a.Model, a.Version).Scan(&known); err != nil || known > 0 {
		return false, err
	}
	if err := t.queryRow(ctx, "SELECT COUNT(*) FROM announcement WHERE source = ? AND closed = 0", by.ID).Scan(&open); err != nil {
		return false, err
	}
	if open >= MaxOpenAnnouncements {
		return false, fmt.Errorf("%d versions that %.100q announced wait to be registered: %w", open, by.Name, ErrTooManyOpen)
	}
	id := NewID()
	n, err := t.exec(ctx, `INSERT INTO announcement (id, source, by_name, provider, model, version, kind, title, origin, who, announced) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (source, model, version) DO NOTHING`, id, by.ID, by.Name, provider, a.Model, a.Version, a.Kind, a.Title, a.Origin, a.Who, micros(t.s.now()))
	if err != nil || n == 0 {
		return false, err
	}
	return true, t.Audit(ctx, by, "announcement.add", id, map[string]any{"model": a.Model, "version": a.Version, "origin": a.Origin})
}

// registered closes what was announced of a version: it is there.
func (t *Tx) registered(ctx context.Context, by Actor, model, version string) error {
	_, err := t.exec(ctx, "UPDATE announcement SET closed = ?, closed_by = ? WHERE model = ? AND version = ? AND closed = 0", micros(t.s.now()), by.ID, model, version)
	return err
}

const announcementColumns = "id, source, by_name, provider, model, version, kind, title, origin, who, announced, closed, closed_by, note"

// Announcements lists what waits to be registered, oldest first after an id; with
// closed also what does not wait any more.
func (s *Store) Announcements(ctx context.Context, model, after string, closed bool, limit int) ([]Announcement, error) {
	rows, err := s.query(ctx, "SELECT "+announcementColumns+" FROM announcement WHERE (? = 1 OR closed = 0) AND (? = '' OR model = ?) AND id > ? ORDER BY id LIMIT ?",
		boolInt(closed), model, model, after, limit)
	return collect(rows, err, func(r *sql.Rows) (Announcement, error) {
		var x Announcement
		var announced, closed int64
		err := r.Scan(&x.ID, &x.Source, &x.By, &x.Provider, &x.Model, &x.Version, &x.Kind, &x.Title, &x.Origin, &x.Who, &announced, &closed, &x.ClosedBy, &x.Note)
		x.Announced, x.Closed = fromMicros(announced), fromMicros(closed)
		return x, err
	})
}

// DismissAnnouncement says that an announced version need not be registered.
func (s *Store) DismissAnnouncement(ctx context.Context, by Actor, id, reason string) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, "UPDATE announcement SET closed = ?, closed_by = ?, note = ? WHERE id = ? AND closed = 0", micros(s.now()), by.ID, reason, id)
		if err == nil && n == 0 {
			err = fmt.Errorf("open announcement %.100q: %w", id, ErrNotFound)
		}
		if err != nil {
			return err
		}
		return tx.Audit(ctx, by, "announcement.dismiss", id, map[string]any{"reason": reason})
	})
}

// purgeDeliveries forgets deliveries whose signed time is long over.
func (s *Store) purgeDeliveries(ctx context.Context) error {
	return s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "DELETE FROM webhook_delivery WHERE received < ?", micros(s.now().Add(-deliveryKept)))
		return err
	})
}
