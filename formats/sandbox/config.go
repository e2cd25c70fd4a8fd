package sandbox

import (
	"fmt"
	"os"
	"time"

	"weightwarden/formats"
)

// ID is the format in errors of the sandbox itself.
const ID formats.ID = "sandbox"

// childArgument makes a program a decoder child.
const childArgument = "-weightwarden-decode-child"

// IsChild reports whether the arguments of the program (os.Args) ask for a
// decoder child. Main must then call Child before anything else.
func IsChild(args []string) bool { return len(args) == 2 && args[1] == childArgument }

// Config says how children run. The zero value is the default.
type Config struct {
	// Program is the program to start, "" for the running one.
	Program string
	// UID and GID are what a child of root becomes, 0 for 65534 (nobody).
	UID, GID int
	// MemoryBytes bounds the memory of a child, 0 for 1 GiB.
	MemoryBytes int64
	// Timeout bounds the decoding of one file, 0 for two minutes.
	Timeout time.Duration
	// SpoolDir is where unpacked members are kept, "" for os.TempDir. The files
	// have no name.
	SpoolDir string
}

func (c Config) orDefault() Config {
	if c.UID == 0 {
		c.UID = 65534
	}
	if c.GID == 0 {
		c.GID = 65534
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = 1 << 30
	}
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Minute
	}
	return c
}

// Decoder decodes in child processes, one a file. It has the method of
// formats.Decoders and is safe for concurrent use.
type Decoder struct{ config Config }

// New returns a Decoder.
func New(c Config) *Decoder { return &Decoder{config: c.orDefault()} }

// Descriptor is a Source that lies in a file. Others are copied to a temporary
// one for the child, up to 64 MiB.
type Descriptor interface {
	// Descriptor returns the open file, which stays the Source's own.
	Descriptor() *os.File
}

const copyBytes = 64 << 20

// failure is an error of the sandbox itself.
func failure(reason error, text string, args ...any) error {
	return formats.Errorf(ID, "child", -1, reason, "%s", fmt.Sprintf(text, args...))
}
