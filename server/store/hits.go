package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"weightwarden/internal/api"
)

// Hit is a stored hit. Body has all of it; the other fields are for lists.
type Hit struct {
	ID          string
	Agent       string
	Received    time.Time
	Observed    time.Time
	Event       string
	Verdict     api.Word
	Model       string
	Version     string
	Kind        string
	Host        string
	User        string
	Process     string
	Path        string
	DestClass   string
	Size        int64
	Coverage    float64 // of the model's bytes, 0 to 1
	AlertID     string
	Authorised  string // id of the authorisation that covers it
	Opinion     string // of the server, one of Opinion...; Verdict and Model are what it holds for true
	OpinionText string
	Body        *api.Hit
}

// AddHits stores hits of one agent; those that are there already change nothing.
// It returns when they are on disk. severity rates a hit that makes or joins an
// alert, given the tier of its model.
func (s *Store) AddHits(ctx context.Context, agent string, hits []api.Hit, severity func(*api.Hit, int) int) (added int, err error) {
	bodies := make([][]byte, len(hits))
	for i := range hits {
		if bodies[i], err = json.Marshal(&hits[i]); err != nil {
			return 0, err
		}
	}
	err = s.Write(ctx, func(ctx context.Context, tx *Tx) error {
		added = 0
		for i := range hits {
			ok, err := tx.addHit(ctx, agent, &hits[i], bodies[i], severity)
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

func (t *Tx) addHit(ctx context.Context, agent string, told *api.Hit, body []byte, severity func(*api.Hit, int) int) (bool, error) {
	opinion, err := t.secondOpinion(ctx, &told.Verdict)
	if err != nil {
		return false, err
	}
	h := opinion.apply(told)
	id, process := NewID(), ""
	if h.Process != nil {
		process = orElse(h.Process.Exe, h.Process.Name)
	}
	added, err := t.insertHit(ctx, id, agent, process, h, body, opinion)
	if err != nil || !added {
		return false, err
	}
	if !h.Verdict.Verdict.IsHit() {
		return true, nil // inconclusive: kept, no alert
	}
	auth, err := t.authorised(ctx, h, process)
	if err != nil {
		return false, err
	}
	if err := t.putCopy(ctx, agent, id, h, auth); err != nil {
		return false, err
	}
	alert := ""
	if auth == "" {
		if alert, err = t.joinAlert(ctx, agent, id, process, h, severity(h, opinion.tier)); err != nil {
			return false, err
		}
	}
	_, err = t.exec(ctx, "UPDATE hit SET alert_id = ?, authorised = ? WHERE id = ?", alert, auth, id)
	return true, err
}

func (t *Tx) insertHit(ctx context.Context, id, agent, process string, h *api.Hit, body []byte, o opinion) (bool, error) {
	v, content := &h.Verdict, ""
	if v.Digests != nil {
		content = v.Digests.Content
	}
	n, err := t.exec(ctx, `INSERT INTO hit (id, agent, epoch, seq, received, observed, event, verdict, model, version, kind, host, user_name, process, path,
		file_name, dest_class, size, coverage, content, alert_id, opinion, opinion_text, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?)
		ON CONFLICT (agent, epoch, seq) DO NOTHING`, id, agent, h.Epoch, int64(h.Seq), micros(t.s.now()), micros(h.ObservedAt), h.Event, string(v.Verdict),
		v.Model, v.ModelVersion, v.Kind, h.Host.Name, h.User.Name, process, v.Path, fileName(v.Path), h.Destination.Class, v.Size, v.Coverage.Bytes,
		cut(content, 128), o.word, o.text, body)
	return n > 0, err
}

// fileName is the last part of a path of any system, short enough for an index.
func fileName(p string) string {
	return cut(path.Base(strings.ReplaceAll(p, `\`, "/")), 512)
}

// cut shortens text to at most n bytes of whole runes.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "")
}

// textKey stands for a text of any length in a unique index.
func textKey(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func (t *Tx) putCopy(ctx context.Context, agent, hit string, h *api.Hit, auth string) error {
	now := micros(t.s.now())
	v := &h.Verdict
	_, err := t.exec(ctx, `INSERT INTO copy (agent, path_key, path, host, model, version, verdict, dest_class, size, user_name, first_seen, last_seen, last_hit, authorised)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (agent, path_key) DO UPDATE SET host = excluded.host, model = excluded.model,
		version = excluded.version, verdict = excluded.verdict, dest_class = excluded.dest_class, size = excluded.size, user_name = excluded.user_name,
		last_seen = excluded.last_seen, last_hit = excluded.last_hit, authorised = excluded.authorised, gone = 0`, agent, textKey(v.Path), v.Path, h.Host.Name, v.Model, v.ModelVersion,
		string(v.Verdict), h.Destination.Class, v.Size, h.User.Name, now, now, hit, auth)
	return err
}

// HitFilter selects hits; empty fields select all.
type HitFilter struct {
	Before  string // id: the page after that hit
	From    string // id: that hit and newer ones
	Limit   int
	Verdict string
	Model   string
	Host    string
	User    string
	Agent   string
	Class   string // destination
	Alert   string
	Opinion string // "disagrees": any but none and OpinionAgrees
	Content string // digest
	File    string // path of any folder: its last part counts
	Text    string // in path, process, host, user, model, or a content digest
	Since   time.Time
	Until   time.Time
}

const hitColumns = `id, agent, received, observed, event, verdict, model, version, kind, host, user_name, process, path, dest_class, size, coverage, alert_id, authorised, opinion, opinion_text`

// Hits lists hits, newest first, without their bodies.
func (s *Store) Hits(ctx context.Context, f HitFilter) ([]Hit, error) {
	where, args := f.where()
	rows, err := s.query(ctx, "SELECT "+hitColumns+" FROM hit WHERE "+where+" ORDER BY id DESC LIMIT ?", append(args, f.Limit)...)
	return collect(rows, err, func(r *sql.Rows) (Hit, error) { return scanHit(r) })
}

func (f HitFilter) where() (string, []any) {
	where, args := []string{"1=1"}, []any{}
	add := func(cond string, a ...any) { where, args = append(where, cond), append(args, a...) }
	for _, c := range []struct{ column, value string }{{"verdict", f.Verdict}, {"model", f.Model}, {"host", f.Host}, {"user_name", f.User},
		{"agent", f.Agent}, {"dest_class", f.Class}, {"alert_id", f.Alert}} {
		if c.value != "" {
			add(c.column+" = ?", c.value)
		}
	}
	switch f.Opinion {
	case "":
	case "disagrees":
		add("opinion NOT IN ('', 'agrees')")
	default:
		add("opinion = ?", f.Opinion)
	}
	if f.Content != "" {
		add("content = ?", strings.ToLower(cut(f.Content, 128)))
	}
	if f.File != "" {
		add("file_name = ?", fileName(f.File))
	}
	if f.Before != "" {
		add("id < ?", f.Before)
	}
	if f.From != "" {
		add("id >= ?", f.From)
	}
	if !f.Since.IsZero() {
		add("observed >= ?", micros(f.Since))
	}
	if !f.Until.IsZero() {
		add("observed < ?", micros(f.Until))
	}
	if f.Text != "" {
		like := "%" + escapeLike(strings.ToLower(f.Text)) + "%"
		add(`(content = ? OR LOWER(path) LIKE ? ESCAPE '\' OR LOWER(process) LIKE ? ESCAPE '\' OR LOWER(host) LIKE ? ESCAPE '\'
			OR LOWER(user_name) LIKE ? ESCAPE '\' OR LOWER(model) LIKE ? ESCAPE '\')`, strings.ToLower(f.Text), like, like, like, like, like)
	}
	return strings.Join(where, " AND "), args
}

func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(s)
}

func scanHit(row interface{ Scan(...any) error }, more ...any) (Hit, error) {
	var h Hit
	var received, observed int64
	dest := []any{&h.ID, &h.Agent, &received, &observed, &h.Event, &h.Verdict, &h.Model, &h.Version, &h.Kind, &h.Host, &h.User, &h.Process, &h.Path,
		&h.DestClass, &h.Size, &h.Coverage, &h.AlertID, &h.Authorised, &h.Opinion, &h.OpinionText}
	err := row.Scan(append(dest, more...)...)
	h.Received, h.Observed = fromMicros(received), fromMicros(observed)
	return h, err
}

// Hit returns one hit with its body.
func (s *Store) Hit(ctx context.Context, id string) (Hit, error) {
	var body []byte
	h, err := scanHit(s.queryRow(ctx, "SELECT "+hitColumns+", body FROM hit WHERE id = ?", id), &body)
	if err != nil {
		return Hit{}, notFound(err, "hit", id)
	}
	h.Body = new(api.Hit)
	if err := json.Unmarshal(body, h.Body); err != nil {
		return Hit{}, fmt.Errorf("hit %.100q: %w", id, err)
	}
	return h, nil
}

// HitBack returns the id of the n-th hit before another one ("" for the newest), or ""
// where there are fewer: how far a look for text within goes at once.
func (s *Store) HitBack(ctx context.Context, before string, n int) (string, error) {
	var id string
	where, args := "1=1", []any{}
	if before != "" {
		where, args = "id < ?", []any{before}
	}
	err := s.queryRow(ctx, "SELECT id FROM hit WHERE "+where+" ORDER BY id DESC LIMIT 1 OFFSET ?", append(args, n-1)...).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}

// CountHits returns how many hits a filter selects, counting at most limit.
func (s *Store) CountHits(ctx context.Context, f HitFilter, limit int) (int, error) {
	where, args := f.where()
	var n int
	err := s.queryRow(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM hit WHERE "+where+" LIMIT ?) AS part", append(args, limit)...).Scan(&n)
	return n, err
}
