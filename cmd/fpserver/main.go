// Command fpserver is the fleet's server: registry, intake of hits and console in
// one program.
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
		Name:     "fpserver",
		Summary:  "keeps the registry of protected models and takes the hits of agents",
		Version:  buildinfo.Version(),
		Epilogue: "docs/operations.md tells how to run it for a fleet.",
		Commands: []cli.Command{serveCommand(), backupCommand(), restoreCommand(), adminTokenCommand(), loadtestCommand(), demoDataCommand()},
	}
}
