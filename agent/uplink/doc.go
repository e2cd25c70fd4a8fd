// Package uplink carries hits to the server at least once and brings snapshots,
// policies and certificates back. While the server is away the agent goes on
// detecting: hits stay in the spool, and the last snapshot that verified stays in
// force.
package uplink
