// Package spool keeps hits on disk from detection until the server has them.
//
// A spool is a folder of segments. A segment starts with a 40-byte header
// ("WWSPOOL1", 16 bytes of epoch, the first sequence number, four zero bytes, a
// CRC-32C of all before) and holds records: payload length (uint32), CRC-32C
// (uint32, of everything behind it), type (uint8), sequence number (uint64),
// payload; all little endian. An appended hit counts only after fsync. What the
// server acknowledged stands in a cursor file that is replaced atomically.
// Sequence numbers run from 1 without holes within an epoch, and the epoch is
// random per spool, so that a restored disk image cannot pass as the old one.
//
// Hits are never evicted. A torn tail (a crash in the middle of a write) is cut;
// a damaged segment is copied aside, every record in it that is still whole is
// kept, and what is gone is said.
package spool
