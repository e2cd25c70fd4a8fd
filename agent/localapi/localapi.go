// Package localapi is the agent's interface for people on the machine: a Unix
// socket, readable by its owner alone, that answers with the agent's status.
package localapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"weightwarden/internal/api"
)

// Status is what "fpagent status --json" prints.
type Status struct {
	SchemaVersion int          `json:"schema_version"`
	State         string       `json:"state"` // "ok", "degraded", "broken"
	Version       string       `json:"version"`
	PID           int          `json:"pid"`
	Started       time.Time    `json:"started"`
	AgentID       string       `json:"agent_id,omitempty"`
	Server        string       `json:"server,omitempty"`
	LastContact   *time.Time   `json:"last_contact,omitempty"`
	Snapshot      Snapshot     `json:"snapshot"`
	Policy        int64        `json:"policy"`
	Watches       []api.Watch  `json:"watches"`
	Processes     string       `json:"processes"`         // source of process facts
	Parsing       string       `json:"parsing,omitempty"` // how the structure of files is read
	Spool         Spool        `json:"spool"`
	Files         Files        `json:"files"`
	Gaps          []api.Gap    `json:"gaps"`
	Health        []api.Health `json:"health"`
}

// Snapshot is the registry in force.
type Snapshot struct {
	Epoch   int64      `json:"epoch"`
	File    string     `json:"file,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
}

// Spool is what waits for the server.
type Spool struct {
	api.SpoolInfo
	Epoch string `json:"epoch"`
	Acked uint64 `json:"acknowledged"`
}

// Files counts since the start of the agent.
type Files struct {
	Closes     uint64 `json:"closes_seen"` // of files of any size; 0 where the source of events does not count
	Events     uint64 `json:"events"`
	Gated      uint64 `json:"large_enough"`
	Judged     uint64 `json:"judged"`
	Unchanged  uint64 `json:"unchanged"`
	Hits       uint64 `json:"hits"`
	Unreadable uint64 `json:"unreadable"`
	Shed       uint64 `json:"left_to_sweep"`
	Reread     uint64 `json:"read_again"`
	Bytes      uint64 `json:"bytes_read"`
}

// Serve answers on the socket until ctx ends. A socket left over by a dead agent
// is replaced; one of a living agent is an error.
func Serve(ctx context.Context, path string, status func() Status) error {
	l, err := listen(path)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(status()) // the reader went away: nothing to do
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("another agent answers on %s", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		_ = os.Remove(path) // nobody answers there
	}
	// The socket is made in a folder of its own and moved, so that it never has
	// wider rights, not for an instant.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	tmp := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: tmp, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(tmp, 0o600); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// ErrNotRunning is returned by Get where no agent answers.
var ErrNotRunning = errors.New("no agent answers")

// Get asks the agent behind a socket for its status.
func Get(ctx context.Context, path string) (*Status, error) {
	var dialer net.Dialer
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w on %s: %v", ErrNotRunning, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return nil, err
	}
	var s Status
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	return &s, nil
}
