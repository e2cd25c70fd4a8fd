package enforce

import (
	"path/filepath"
	"slices"
	"strings"

	"weightwarden/internal/api"
)

// The words of api.Hit.Action.
const (
	ActionAlert      = "alert"
	ActionQuarantine = "quarantine"
	ActionDeny       = "deny"
)

// Rules say what is done about copies on this machine: those of its configuration
// and of the policy, within the bounds that the configuration sets. The zero value
// only observes.
type Rules struct {
	// Verdicts and Destinations (api.Destination.Class) of copies that are moved
	// aside. No verdict: nothing is; no destination: wherever they lie.
	Verdicts     []api.Word
	Destinations []string
	// AllowPaths are folders where copies may lie, AllowPrograms executables that
	// may open them. An authorised copy is never touched.
	AllowPaths    []string
	AllowPrograms []string
	// Block keeps other programs from opening known copies, and in the folders of
	// Lockdown from opening any large file.
	Block    bool
	Lockdown []string
}

// Quarantines reports whether a hit asks for its file to be moved aside, and if
// not, why not.
func (r *Rules) Quarantines(h *api.Hit) (bool, string) {
	switch {
	case !slices.Contains(r.Verdicts, h.Verdict.Verdict):
		return false, "the verdict asks for no action"
	case len(r.Destinations) > 0 && !slices.Contains(r.Destinations, h.Destination.Class):
		return false, "the place asks for no action"
	case r.AllowedPlace(h.Verdict.Path):
		return false, "the place is authorised"
	case h.Process != nil && r.AllowedProgram(h.Process.Exe):
		return false, "the program is authorised"
	}
	return true, ""
}

// AllowedPlace reports whether copies may lie at path.
func (r *Rules) AllowedPlace(path string) bool { return below(path, r.AllowPaths) }

// AllowedProgram reports whether an executable may open copies.
func (r *Rules) AllowedProgram(exe string) bool {
	return exe != "" && slices.Contains(r.AllowPrograms, filepath.Clean(exe))
}

// LockedDown reports whether path lies in a folder under lockdown.
func (r *Rules) LockedDown(path string) bool { return below(path, r.Lockdown) }

func below(path string, folders []string) bool {
	for _, f := range folders {
		f = strings.TrimSuffix(filepath.Clean(f), "/")
		if path == f || strings.HasPrefix(path, f+"/") {
			return true
		}
	}
	return false
}
