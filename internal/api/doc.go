// Package api has the types that cross a wire or a pipe: verdicts as fpcheck
// prints them, hits as agents report them, and the requests and answers of the
// server's /v1 interface. Agent, server and tools share them; it has no behaviour
// beyond validation. docs/api/openapi.yaml describes the same, and a test holds
// the two together.
package api

// SchemaVersion is carried by every JSON object that leaves a program.
const SchemaVersion = 1
