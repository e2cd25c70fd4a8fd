package demodata

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

// agent is a made-up machine.
type agent struct {
	id, host, os, platform, site, role, user string
	seq                                      uint64
	silent                                   time.Duration // ago that it was last heard; 0: it is heard
	behind                                   int64         // snapshots
	pending                                  int64
	trouble                                  string // "", "overflow", "unreadable", "nowatch"
}

func fleet() []*agent {
	var out []*agent
	add := func(n int, host, os, platform, site, role string) {
		for i := range n {
			out = append(out, &agent{host: fmt.Sprintf(host, i+1), os: os, platform: platform, site: site, role: role})
		}
	}
	add(8, "gpu-%02d", "linux", "ubuntu 24.04", "hall", "training")
	add(4, "train-%02d", "linux", "debian 12.9", "hall", "training")
	add(4, "serve-%02d", "linux", "debian 12.9", "dmz", "serving")
	add(2, "eval-%02d", "linux", "ubuntu 24.04", "hall", "evaluation")
	add(1, "nas-%02d", "linux", "debian 12.9", "hall", "storage")
	add(2, "ci-runner-%02d", "linux", "debian 12.9", "office", "build")
	add(1, "jump-%02d", "linux", "rocky 9.4", "dmz", "gateway")
	for _, u := range []string{"j.novak", "p.marsh", "k.ibe", "s.haddad", "l.roux", "d.chen", "e.voss", "r.amari", "n.falk", "t.osei", "y.mori", "a.pires"} {
		os, platform, host := "linux", "fedora 41", "ws-"
		switch len(out) % 3 {
		case 0:
			os, platform, host = "darwin", "macOS 15.4", "mb-"
		case 1:
			os, platform, host = "windows", "Windows 11 24H2", "pc-"
		}
		out = append(out, &agent{host: host + u[2:], os: os, platform: platform, site: "office", role: "workstation", user: u})
	}
	for i, change := range map[int]func(*agent){
		3:  func(a *agent) { a.behind = 1 },
		6:  func(a *agent) { a.trouble = "overflow" },
		11: func(a *agent) { a.pending = 41 },
		18: func(a *agent) { a.trouble = "unreadable" },
		20: func(a *agent) { a.silent = 9 * time.Hour },
		24: func(a *agent) { a.silent = 3*24*time.Hour + 2*time.Hour },
		27: func(a *agent) { a.behind = 2 },
		29: func(a *agent) { a.trouble = "nowatch" },
	} {
		change(out[i])
	}
	return out
}

func (w *world) addFleet() error {
	by := w.people[lead]
	for i, a := range fleet() {
		w.Clock.forward(w.now.Add(-Span + 2*time.Hour + time.Duration(i)*3*time.Minute))
		_, secret := auth.NewToken()
		_, err := w.Store.AddEnrolToken(w.ctx, by, store.EnrolToken{Name: a.host, UsesLeft: 1, Labels: map[string]string{"site": a.site, "role": a.role},
			Expires: w.Clock.Now().Add(time.Hour)}, secret)
		if err != nil {
			return err
		}
		enrolled, err := w.Store.Enrol(w.ctx, secret, store.Agent{ID: store.NewID(), Host: a.host, OS: a.os, Arch: arch(a.os), Version: "0.9.2", MachineID: digestOf(a.host)[:32],
			CertSerial: digestOf("cert" + a.host)[:16], CertExpires: w.now.Add(time.Duration(5+i%20) * 24 * time.Hour)}, "10.20.1."+fmt.Sprint(10+i))
		if err != nil {
			return err
		}
		a.id = enrolled.ID
		w.agents = append(w.agents, a)
	}
	return nil
}

func arch(os string) string {
	if os == "darwin" {
		return "arm64"
	}
	return "amd64"
}

func (a *agent) machine() api.Host {
	return api.Host{Name: a.host, OS: a.os, Arch: arch(a.os), Platform: a.platform, Machine: digestOf(a.host)[:32], BootID: digestOf("boot" + a.host)[:32]}
}

// heartbeat is the agent's account of itself at a time.
func (a *agent) heartbeat(at time.Time, started time.Time, epoch, policy int64) *api.Heartbeat {
	hb := &api.Heartbeat{Epoch: "demo", SentAt: at, Started: started, Version: "0.9.2", Host: a.machine(), Snapshot: max(epoch-a.behind, 1), Policy: policy,
		Spool: api.SpoolInfo{Pending: a.pending, Bytes: a.pending * 1800}, FilesSeen: 40_000 + a.seq*977, BytesRead: 9e11}
	tier := "fanotify"
	if a.os != "linux" {
		tier = "fsnotify"
	}
	for _, p := range watched(a) {
		hb.Watches = append(hb.Watches, api.Watch{Path: p, Tier: tier, State: "ok"})
	}
	gap := func(cause, path string, ago, long time.Duration, closed bool) {
		g := api.Gap{ID: cause + path, Path: path, From: at.Add(-ago), To: at.Add(-ago + long), Cause: cause, Files: 0}
		if closed {
			end := g.To.Add(4 * time.Minute)
			g.Closed, g.Files = &end, 1833
		}
		hb.Gaps = append(hb.Gaps, g)
	}
	switch a.trouble {
	case "overflow":
		gap("overflow", "/data", 3*time.Hour, 2*time.Minute, false)
		gap("overflow", "/data", 30*time.Hour, time.Minute, true)
	case "unreadable":
		gap("unreadable", "/srv/archive/2024", 50*time.Hour, 50*time.Hour, false)
		hb.Health = append(hb.Health, api.Health{Code: "watch_unreadable", Severity: "warning", Text: "/srv/archive/2024 cannot be read: permission denied", Since: at.Add(-50 * time.Hour)})
	case "nowatch":
		hb.Watches[0].Tier, hb.Watches[0].State, hb.Watches[0].Detail = "sweep", "partial", "the system refuses file notifications here; looked at each hour"
		hb.Health = append(hb.Health, api.Health{Code: "watch_degraded", Severity: "error", Text: "the home folder is not watched as it happens, but each hour", Since: at.Add(-26 * time.Hour)})
		end := at.Add(-31 * time.Hour)
		hb.Over = append(hb.Over, api.Health{Code: "spool.write", Severity: "error", Text: "write /var/lib/weightwarden/spool: no space left on device", Since: at.Add(-33 * time.Hour), Until: &end})
	}
	return hb
}

func watched(a *agent) []string {
	switch {
	case a.os == "darwin":
		return []string{"/Users/" + a.user, "/Volumes"}
	case a.os == "windows":
		return []string{`C:\Users\` + a.user, `D:\`}
	case a.role == "workstation":
		return []string{"/home/" + a.user, "/media", "/run/media"}
	}
	return []string{"/data", "/srv", "/home", "/mnt"}
}

// finish brings every agent to the present.
func (w *world) finish() error {
	w.Clock.forward(w.now)
	snap, err := w.Store.LatestSnapshot(w.ctx)
	if err != nil {
		return err
	}
	err = errors.Join(
		w.Store.SetAgentState(w.ctx, w.people[lead], w.agents[21].id, store.AgentRevoked, "machine returned to the leasing company"),
		w.Store.SetAgentState(w.ctx, store.ServerActor(), w.agents[33].id, store.AgentCloned, "heartbeats come from two machines"))
	return errors.Join(err, w.beat(snap.Epoch, w.now))
}

func (w *world) beat(epoch int64, at time.Time) error {
	revision, err := w.Store.PolicyRevision(w.ctx)
	if err != nil {
		return err
	}
	for _, a := range w.agents {
		if a.silent > 0 {
			continue // what it last said stays
		}
		hb := a.heartbeat(at, at.Add(-9*24*time.Hour), epoch, revision)
		if err := w.Store.Heartbeat(w.ctx, a.id, hb); errors.Is(err, store.ErrNotFound) {
			continue // revoked or cloned
		} else if err != nil {
			return err
		}
		if _, err := w.Store.OrderSweeps(w.ctx, a.id, hb); err != nil {
			return err
		}
	}
	return nil
}

// KeepAlive lets the agents of a filled store be heard each minute until ctx ends,
// so that they do not all turn silent while somebody looks.
func KeepAlive(ctx context.Context, st *store.Store) error {
	byHost := map[string]*agent{}
	for _, a := range fleet() {
		byHost[a.host] = a
	}
	for {
		if err := beatAll(ctx, st, byHost); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Minute):
		}
	}
}

func beatAll(ctx context.Context, st *store.Store, byHost map[string]*agent) error {
	list, err := st.Agents(ctx, "", 1000)
	if err != nil {
		return err
	}
	w := &world{ctx: ctx, Target: Target{Store: st}}
	for _, x := range list {
		if a := byHost[x.Host]; a != nil {
			a.id = x.ID
			w.agents = append(w.agents, a)
		}
	}
	snap, err := st.LatestSnapshot(ctx)
	if err != nil {
		return err
	}
	return w.beat(snap.Epoch, time.Now().UTC())
}
