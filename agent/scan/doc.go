// Package scan is the way of a file from event to verdict: gate (regular, large
// enough), coalesce by inode, settle (until the writer is done), judge, report.
//
// Every stage is bounded. What does not fit is not dropped: its folder is
// reported as a gap, and a sweep looks at it later. A file that changed while it
// was read is read again.
package scan
