// Package file opens files of a disk as formats.Source: regular files only, from
// a path or from a descriptor that somebody else opened, with reads by position
// so that a file which shrinks gives an error and not a fault.
//
// The files beside a Source (shards, external tensor data) are named by hostile
// input. They are opened below the folder that was open from the start (os.Root),
// never through a link, and only when they are regular files.
package file
