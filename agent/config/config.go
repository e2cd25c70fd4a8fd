// Package config is the agent's configuration: a YAML file with a schema
// (schema.json beside this file, for editors and for check-config). Unknown keys
// are refused with their line and the nearest known key, because a misspelt
// "exclude" that is silently ignored is a hole.
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weightwarden/internal/api"
)

// Config is what fpagent runs with. The yaml tags are the keys of the file.
type Config struct {
	StateDir string   `yaml:"state_dir"` // spool, state store, identity, snapshot
	Socket   string   `yaml:"socket"`    // of the local status interface; "" means agent.sock in StateDir
	Server   string   `yaml:"server"`    // https URL; "" means the one of the enrolment
	Registry string   `yaml:"registry"`  // a local .fpdb in place of the server's snapshot
	KeyFile  string   `yaml:"key_file"`  // the organisation's fingerprint key; "" is the public key
	Watch    Watch    `yaml:"watch"`
	Files    Files    `yaml:"files"`
	Settle   Settle   `yaml:"settle"`
	Limits   Limits   `yaml:"limits"`
	Uplink   Uplink   `yaml:"uplink"`
	Report   Report   `yaml:"report"`
	Enforce  Enforce  `yaml:"enforce"`
	Cloud    []string `yaml:"cloud_sync_folders"` // further folders that a sync client uploads
}

// Watch says what is watched and how.
type Watch struct {
	Paths         []string `yaml:"paths"`
	Exclude       []string `yaml:"exclude"` // folders, or patterns of path.Match on the whole path
	Tier          string   `yaml:"tier"`    // auto, fanotify, fsnotify, sweep
	SweepAtStart  bool     `yaml:"sweep_at_start"`
	SweepInterval Duration `yaml:"sweep_interval"` // 0: never
	PollInterval  Duration `yaml:"poll_interval"`  // of network mounts and of tier sweep
	Canary        Duration `yaml:"canary_interval"`
	MemoryFiles   bool     `yaml:"memory_files"`  // look at memfd, deleted and long-open files
	Egress        bool     `yaml:"egress"`        // watch opens of known copies
	Processes     string   `yaml:"process_cache"` // auto, off
}

// Files says which files are looked at. Names do not matter.
type Files struct {
	MinSize Size `yaml:"min_size"`
}

// Settle says when a file counts as written.
type Settle struct {
	Quiet   Duration `yaml:"quiet"`    // unchanged for so long, where leases cannot tell
	MaxWait Duration `yaml:"max_wait"` // look at it anyway after so long
}

// Limits bound what the agent takes from the machine.
type Limits struct {
	Workers        int  `yaml:"workers"`
	Queue          int  `yaml:"queue"` // files waiting; more become a sweep
	BytesPerSecond Size `yaml:"bytes_per_second"`
	SweepPerSecond Size `yaml:"sweep_bytes_per_second"`
	QuickAbove     Size `yaml:"quick_above"` // larger files are first judged by samples
	IdleIO         bool `yaml:"idle_io"`
	MemoryBytes    Size `yaml:"memory"` // soft limit of the Go heap
	PressureAware  bool `yaml:"pressure_aware"`
}

// Uplink says how often the agent talks to the server.
type Uplink struct {
	Heartbeat Duration `yaml:"heartbeat"`
	Snapshot  Duration `yaml:"snapshot"` // asked for at least so often; a heartbeat answer may ask earlier
}

// Report says what is printed.
type Report struct {
	PrintClear bool `yaml:"print_clear"`
	JSON       bool `yaml:"json"`
}

// Enforce is the local upper bound of what a signed policy may do.
type Enforce struct {
	Quarantine    bool     `yaml:"quarantine"`
	QuarantineDir string   `yaml:"quarantine_dir"`
	Blocking      bool     `yaml:"blocking"`
	Budget        Duration `yaml:"budget"` // for one blocking decision, then it is allowed
	Rules         Rules    `yaml:"rules"`
}

// Rules are what this machine asks for by itself, besides a policy.
type Rules struct {
	Verdicts      []string `yaml:"verdicts"`     // of copies that are moved aside
	Destinations  []string `yaml:"destinations"` // of copies that are moved aside; none: wherever they lie
	AllowPaths    []string `yaml:"allow_paths"`
	AllowPrograms []string `yaml:"allow_programs"`
	Block         bool     `yaml:"block"`          // keep other programs from opening known copies
	Lockdown      []string `yaml:"lockdown_paths"` // in them no large file is opened by other programs
}

// Default is the configuration of an empty file.
func Default() Config {
	return Config{
		StateDir: "/var/lib/weightwarden",
		Watch: Watch{
			Paths: []string{"/"}, Tier: "auto", SweepAtStart: true,
			SweepInterval: Duration(24 * time.Hour), PollInterval: Duration(10 * time.Minute),
			Canary: Duration(time.Minute), MemoryFiles: true, Egress: true, Processes: "auto",
		},
		Files:  Files{MinSize: 1 << 20},
		Settle: Settle{Quiet: Duration(time.Second), MaxWait: Duration(10 * time.Minute)},
		Limits: Limits{Workers: 1, Queue: 4096, BytesPerSecond: 200e6, SweepPerSecond: 50e6,
			QuickAbove: 256 << 20, IdleIO: true, MemoryBytes: 256 << 20, PressureAware: true},
		Uplink:  Uplink{Heartbeat: Duration(30 * time.Second), Snapshot: Duration(10 * time.Minute)},
		Enforce: Enforce{Budget: Duration(250 * time.Millisecond)},
	}
}

// Load reads the file, or the default where path is "".
func Load(path string) (Config, error) {
	if path == "" {
		return Default(), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return Config{}, err
	}
	defer f.Close()
	b := make([]byte, maxFile+1)
	n, err := readUpTo(f, b)
	if err != nil {
		return Config{}, err
	}
	if n > maxFile {
		return Config{}, fmt.Errorf("%s: longer than %d bytes", path, maxFile)
	}
	c, err := Parse(b[:n])
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Check reports what cannot work, every problem at once.
func (c *Config) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.StateDir == "" {
		bad("state_dir: must be a folder")
	}
	for i, p := range c.Watch.Paths {
		if !filepath.IsAbs(p) {
			bad("watch.paths[%d]: %q is not absolute", i, p)
		}
	}
	if len(c.Watch.Paths) == 0 {
		bad("watch.paths: names nothing to watch")
	}
	for i, p := range c.Watch.Exclude {
		if _, err := filepath.Match(p, "/x"); err != nil || !strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "*") && !filepath.IsAbs(p) {
			bad("watch.exclude[%d]: %q is neither an absolute folder nor a pattern", i, p)
		}
	}
	oneOf := func(key, v string, allowed ...string) {
		for _, a := range allowed {
			if v == a {
				return
			}
		}
		bad("%s: %q, may be %s", key, v, strings.Join(allowed, ", "))
	}
	oneOf("watch.tier", c.Watch.Tier, "auto", "fanotify", "fsnotify", "sweep")
	oneOf("watch.process_cache", c.Watch.Processes, "auto", "off")
	if c.Server != "" && !strings.HasPrefix(c.Server, "https://") {
		bad("server: %q does not start with https://", c.Server)
	}
	if c.Limits.Workers < 1 || c.Limits.Workers > 64 {
		bad("limits.workers: %d, may be 1 to 64", c.Limits.Workers)
	}
	if c.Limits.Queue < 16 || c.Limits.Queue > 1<<20 {
		bad("limits.queue: %d, may be 16 to %d", c.Limits.Queue, 1<<20)
	}
	errs = append(errs, c.Enforce.check()...)
	errs = append(errs, c.checkRanges()...)
	return errors.Join(errs...)
}

// check also refuses rules that the bounds forbid: they would do nothing, and
// somebody would rely on them.
func (e *Enforce) check() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for i, v := range e.Rules.Verdicts {
		if !api.Word(v).IsHit() {
			bad("enforce.rules.verdicts[%d]: %.40q is no verdict of a copy", i, v)
		}
	}
	for key, paths := range map[string][]string{"allow_paths": e.Rules.AllowPaths, "allow_programs": e.Rules.AllowPrograms, "lockdown_paths": e.Rules.Lockdown} {
		for i, p := range paths {
			if !filepath.IsAbs(p) || filepath.Clean(p) == string(filepath.Separator) {
				bad("enforce.rules.%s[%d]: %.200q is no absolute path below the root", key, i, p)
			}
		}
	}
	if e.QuarantineDir != "" && !filepath.IsAbs(e.QuarantineDir) {
		bad("enforce.quarantine_dir: %q is not absolute", e.QuarantineDir)
	}
	if len(e.Rules.Verdicts) > 0 && !e.Quarantine {
		bad("enforce.rules.verdicts: does nothing without enforce.quarantine: true")
	}
	if (e.Rules.Block || len(e.Rules.Lockdown) > 0) && !e.Blocking {
		bad("enforce.rules.block, lockdown_paths: do nothing without enforce.blocking: true")
	}
	return errs
}

func (c *Config) checkRanges() []error {
	var errs []error
	for _, d := range []struct {
		key      string
		v        Duration
		min, max time.Duration
		zero     bool
	}{
		{"settle.quiet", c.Settle.Quiet, 10 * time.Millisecond, time.Hour, false},
		{"settle.max_wait", c.Settle.MaxWait, time.Second, 24 * time.Hour, false},
		{"watch.sweep_interval", c.Watch.SweepInterval, time.Second, 1000 * time.Hour, true},
		{"watch.poll_interval", c.Watch.PollInterval, 100 * time.Millisecond, 1000 * time.Hour, false},
		{"watch.canary_interval", c.Watch.Canary, 100 * time.Millisecond, time.Hour, true},
		{"uplink.heartbeat", c.Uplink.Heartbeat, 100 * time.Millisecond, time.Hour, false},
		{"uplink.snapshot", c.Uplink.Snapshot, 100 * time.Millisecond, 24 * time.Hour, false},
		{"enforce.budget", c.Enforce.Budget, time.Millisecond, 10 * time.Second, false},
	} {
		if t := time.Duration(d.v); !(d.zero && t == 0) && (t < d.min || t > d.max) {
			errs = append(errs, fmt.Errorf("%s: %v, may be %v to %v", d.key, t, d.min, d.max))
		}
	}
	for _, s := range []struct {
		key string
		v   Size
		min int64
	}{
		{"files.min_size", c.Files.MinSize, 1},
		{"limits.bytes_per_second", c.Limits.BytesPerSecond, 1 << 20},
		{"limits.sweep_bytes_per_second", c.Limits.SweepPerSecond, 1 << 20},
		{"limits.quick_above", c.Limits.QuickAbove, 1},
		{"limits.memory", c.Limits.MemoryBytes, 32 << 20},
	} {
		if int64(s.v) < s.min {
			errs = append(errs, fmt.Errorf("%s: %d bytes, must be %d or more", s.key, int64(s.v), s.min))
		}
	}
	return errs
}

// SocketPath is where the local interface listens.
func (c *Config) SocketPath() string {
	if c.Socket != "" {
		return c.Socket
	}
	return filepath.Join(c.StateDir, "agent.sock")
}
