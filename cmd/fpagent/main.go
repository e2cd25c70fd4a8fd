// Command fpagent is the endpoint daemon: it notices copies of protected models
// when they are written, moved or linked, and reports them.
package main

import (
	"context"
	"os"

	"weightwarden/formats/all"
	"weightwarden/formats/sandbox"
	"weightwarden/internal/buildinfo"
	"weightwarden/internal/cli"
)

func main() {
	if sandbox.IsChild(os.Args) { // the only place where this program reads the structure of files
		os.Exit(sandbox.Child(all.Decoders()))
	}
	env := &cli.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
	os.Exit(program().Run(context.Background(), env, os.Args[1:]))
}

func program() *cli.Program {
	return &cli.Program{
		Name:    "fpagent",
		Summary: "watches this machine for copies of protected models",
		Version: buildinfo.Version(),
		Epilogue: "Files: /etc/weightwarden/agent.yaml, /var/lib/weightwarden, /run/weightwarden/agent.sock.\n" +
			"Everything can be moved with --state and --config, and run without root.",
		Commands: append([]cli.Command{enrollCommand(), runCommand(), statusCommand(), scanCommand(), checkConfigCommand()}, quarantineCommands()...),
	}
}
