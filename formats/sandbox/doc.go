// Package sandbox decodes files of attackers in a child process that can do
// nothing but read the one file it was handed: no privileges, no file system, no
// network, bounded memory and time. What the child answers is decoded as
// hostile, so that a decoder that was taken over gains nothing.
//
// The child is the program itself, started again with a hidden argument; main
// hands over to Child when IsChild says so. Restrictions that the kernel does
// not have are left out, and Decoder.Probe names the ones that hold. On systems
// other than Linux Decode fails with formats.ErrUnsupported; a caller may decode
// in its own process there, knowing what that means.
package sandbox
