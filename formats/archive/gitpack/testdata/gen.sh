#!/bin/sh
# Makes real.pack with git: two blobs of 20,000 and 30,000 bytes that do not compress, a text and its next version as a difference.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
d=$(mktemp -d)
trap 'rm -rf "$d"' EXIT
cd "$d"
git init -q
export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
keep() { git add -A && git -c user.name=a -c user.email=a@example.com commit -qm "$1"; }
bytes() { openssl enc -aes-128-ctr -K "$1" -iv 00 -in /dev/zero 2>/dev/null | head -c "$2"; }
bytes 00000000000000000000000000000001 20000 >one.bin
seq 1 20000 >text
keep one
bytes 00000000000000000000000000000002 30000 >two.bin
seq 1 20010 >text
keep two
git repack -adq
cp .git/objects/pack/*.pack "$here/real.pack"
