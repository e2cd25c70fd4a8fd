// Command fpctl administers a server and registers models from CI. It talks to the
// API under /v1; weights never leave the machine that it runs on.
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
		Name:    "fpctl",
		Summary: "administers a weightwarden server and registers models",
		Version: buildinfo.Version(),
		Epilogue: "Server and token: 'fpctl login' keeps them in ~/.config/weightwarden/server.json (mode 0600);\n" +
			"WEIGHTWARDEN_SERVER, WEIGHTWARDEN_TOKEN and WEIGHTWARDEN_CA (a file) override them, for CI.",
		Commands: []cli.Command{loginCommand(), whoAmICommand(), modelAddCommand(), modelImportCommand(), modelListCommand(), modelShowCommand(), modelRemoveCommand(), modelPendingCommand(), modelDismissCommand(), reconcileCommand(),
			webhookAddCommand(), webhookListCommand(), webhookRemoveCommand(),
			accountAddCommand(), accountListCommand(), accountRolesCommand(),
			accountStateCommand("disable", "disabled", "end an account's access at once"), accountStateCommand("enable", "active", "give a disabled account its access back"), accountResetCommand(),
			tokenNewCommand(), tokenListCommand(), tokenRevokeCommand(), agentsCommand(), agentRevokeCommand(), agentLabelCommand(), policySetCommand(), policyListCommand(), policyShowCommand(), policyRollbackCommand(), policyRemoveCommand(),
			hitsCommand(), alertsCommand(), casesCommand(), caseReportCommand(), caseBundleCommand(), kpisCommand(), sweepCommand(), sweepListCommand(),
			snapshotCommand(), snapshotListCommand(), auditVerifyCommand(), auditEntryCommand(),
			holdAddCommand(), holdListCommand(), holdLiftCommand(), retentionCommand()},
	}
}
