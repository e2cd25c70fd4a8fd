// Package enforce does what the rules in force ask for about a copy that was
// found: move it aside with a way back (Quarantine), or keep others from opening
// it (Guard). It never removes data, and where anything is in doubt it leaves the
// file alone and says why.
package enforce
