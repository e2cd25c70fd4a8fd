package process

import (
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Remote returns the address of a peer outside of this machine that a process has
// a connection with, "" where none is found.
func (p Proc) Remote(pid int) string {
	base := filepath.Join(p.Root, strconv.Itoa(pid))
	inodes := socketInodes(base + "/fd")
	if len(inodes) == 0 {
		return ""
	}
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		b, err := os.ReadFile(base + "/net/" + table)
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if addr, inode, ok := parseSocket(line); ok && inodes[inode] {
				return addr
			}
		}
	}
	return ""
}

func socketInodes(dir string) map[string]bool {
	out := map[string]bool{}
	for n := range Entries(dir) {
		link, err := os.Readlink(filepath.Join(dir, n))
		if rest, ok := strings.CutPrefix(link, "socket:["); ok && err == nil {
			out[strings.TrimSuffix(rest, "]")] = true
		}
	}
	return out
}

// parseSocket reads the peer and the inode of a line of /proc/net/tcp. Listening
// sockets and peers on this machine have none that matters.
func parseSocket(line string) (addr, inode string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 {
		return "", "", false
	}
	host, port, found := strings.Cut(f[2], ":")
	number, err := strconv.ParseUint(port, 16, 16)
	raw, herr := hex.DecodeString(host)
	if !found || err != nil || herr != nil || number == 0 || len(raw) != 4 && len(raw) != 16 {
		return "", "", false
	}
	for i := 0; i < len(raw); i += 4 { // words in the machine's order; Linux runs little endian here
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	ip, _ := netip.AddrFromSlice(raw)
	ip = ip.Unmap()
	if ip.IsLoopback() || ip.IsUnspecified() {
		return "", "", false
	}
	return netip.AddrPortFrom(ip, uint16(number)).String(), f[9], true
}
