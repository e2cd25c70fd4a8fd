// Package buildinfo says which build of the product is running.
package buildinfo

import "runtime/debug"

// version is set once, by the linker: go build -ldflags "-X weightwarden/internal/buildinfo.version=...".
var version string

// Version returns the version the program was built as: what the Makefile gave the
// linker, else the module version or commit that the Go tool recorded, else "devel".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
