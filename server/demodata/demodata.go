// Package demodata fills an empty server with a believable fortnight: a fleet,
// registered models, copies of them caught, alerts in every state, sweeps, gaps,
// authorisations and policies. Everything goes through the store as the API has
// it, with a clock of its own, so that pages show what they would show after two
// weeks of work. The same seed and time give the same data but for random ids.
//
// People, machines and models are made up. No weights lie behind the models:
// their fingerprints are of noise.
package demodata

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"weightwarden/server/auth"
	"weightwarden/server/store"
)

// Span is how far back the data goes.
const Span = 14 * 24 * time.Hour

// Clock is a clock that the data is written by.
type Clock struct {
	mu sync.Mutex
	t  time.Time
}

// NewClock begins Span before now.
func NewClock(now time.Time) *Clock { return &Clock{t: now.Add(-Span).UTC()} }

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// forward moves the clock to t if that lies ahead.
func (c *Clock) forward(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.t) {
		c.t = t
	}
}

// Target is what is filled.
type Target struct {
	Store   *store.Store // opened with Clock.Now
	Publish func(ctx context.Context, reason string) (store.Snapshot, error)
	Clock   *Clock
	Seed    uint64
}

// ErrNotEmpty says that there is something already.
var ErrNotEmpty = errors.New("the database has models or agents already")

// world is what has been made so far.
type world struct {
	Target
	ctx    context.Context
	now    time.Time // where the fortnight ends
	rand   *rand.Rand
	models []model
	agents []*agent
	people map[string]store.Actor // analysts and others by name
}

// Fill writes the fortnight that ends at now. force adds to what is there.
func Fill(ctx context.Context, t Target, now time.Time, force bool) error {
	w := &world{Target: t, ctx: ctx, now: now.UTC(), rand: rand.New(rand.NewPCG(t.Seed, 53)), people: map[string]store.Actor{}}
	if err := w.checkEmpty(force); err != nil {
		return err
	}
	for _, step := range []func() error{w.addPeople, w.addModels, w.addFleet, w.addRules, w.play, w.finish} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) checkEmpty(force bool) error {
	models, err := w.Store.Models(w.ctx, "", 1)
	if err != nil {
		return err
	}
	agents, err := w.Store.Agents(w.ctx, "", 1)
	if err == nil && len(models)+len(agents) > 0 && !force {
		err = ErrNotEmpty
	}
	return err
}

// addPeople adds tokens. Their secrets are thrown away: nobody can sign in by them.
func (w *world) addPeople() error {
	for _, p := range []struct {
		name  string
		roles []string
		until time.Duration
	}{
		{"ada.berg (SOC)", []string{auth.RoleAnalyst}, 0},
		{"tomas.lind (SOC)", []string{auth.RoleAnalyst}, 0},
		{"mira.okafor (SOC lead)", []string{auth.RoleAnalyst, auth.RoleApprover}, 0},
		{"training pipeline", []string{auth.RoleRegistrar}, 0},
		{"internal audit", []string{auth.RoleAuditor}, 90 * 24 * time.Hour},
		{"dashboard", []string{auth.RoleReader}, 0},
		{"contractor, March", []string{auth.RoleReader}, 9 * 24 * time.Hour},
	} {
		_, secret := auth.NewToken()
		t := store.Token{Name: p.name, Roles: p.roles}
		if p.until > 0 {
			t.Expires = w.Clock.Now().Add(p.until)
		}
		t, err := w.Store.AddToken(w.ctx, store.ServerActor(), t, secret)
		if err != nil {
			return fmt.Errorf("token of %s: %w", p.name, err)
		}
		w.people[p.name] = store.Actor{Kind: "token", ID: t.ID, Name: p.name, Remote: "10.20.0.7"}
	}
	return nil
}

const (
	analyst   = "ada.berg (SOC)"
	analyst2  = "tomas.lind (SOC)"
	lead      = "mira.okafor (SOC lead)"
	registrar = "training pipeline"
)

// one picks an element.
func one[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }
