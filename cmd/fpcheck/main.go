// Fpcheck looks at model files: does one of them hold registered weights, what is
// in it, what do two of them have in common. docs/cli.md describes its output.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"weightwarden/internal/buildinfo"
	"weightwarden/internal/cli"
)

// gcPercent keeps the process small beside whatever else runs on the machine. What it allocates is a small part
// of what it reads, so that the collector costs next to nothing all the same (decision 0672).
const gcPercent = 20

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	env := &cli.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
	os.Exit(program().Run(context.Background(), env, os.Args[1:]))
}

func program() *cli.Program {
	return &cli.Program{
		Name:    "fpcheck",
		Summary: "find registered model weights in files, whatever was done to them",
		Version: buildinfo.Version(),
		Default: "verify",
		Commands: []cli.Command{
			verifyCommand(),
			inspectCommand(),
			fingerprintCommand(),
			compareCommand(),
			registryAddCommand(),
			registryListCommand(),
			registryRemoveCommand(),
			bundleVerifyCommand(),
		},
		Epilogue: `'fpcheck FILE' is short for 'fpcheck verify FILE'.

exit codes: 0 nothing found, 1 registered weights found, 2 error or could not be judged`,
	}
}
