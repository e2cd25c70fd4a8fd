// Fpcheck looks at model files: does one of them hold registered weights, what is
// in it, what do two of them have in common. docs/cli.md describes its output.
package main

import (
	"context"
	"os"

	"weightwarden/internal/buildinfo"
	"weightwarden/internal/cli"
)

func main() {
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
