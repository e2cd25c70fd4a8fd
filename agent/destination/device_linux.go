package destination

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"

	"weightwarden/internal/api"
)

// Classify says where path lies. dev is the device number that stat gave.
func (c Classifier) Classify(path string, major, minor int) api.Destination {
	m := c.mountOf(path, major, minor)
	if m == nil {
		d := api.Destination{Class: Unknown}
		c.byPath(path, &d)
		return d
	}
	d := api.Destination{Mount: m.Mountpoint, Filesystem: m.FSType, Device: m.Source}
	d.Class, d.Detail = c.classOf(m)
	if d.Class == "" {
		d.Class = Fixed
		c.block(m.Major, m.Minor, &d, 0)
	}
	c.byPath(path, &d)
	return d
}

// mountOf finds the mount: the device decides, and among several mounts of it
// the longest mount point above the path.
func (c Classifier) mountOf(path string, major, minor int) *mountinfo.Info {
	name := c.MountInfo
	if name == "" {
		name = "/proc/self/mountinfo"
	}
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	list, err := mountinfo.GetMountsFromReader(f, nil)
	if err != nil {
		return nil
	}
	var best, byPath *mountinfo.Info
	for _, m := range list {
		if !within(path, m.Mountpoint) && m.Mountpoint != "/" {
			continue
		}
		if m.Major == major && m.Minor == minor && (best == nil || len(m.Mountpoint) >= len(best.Mountpoint)) {
			best = m
		}
		if byPath == nil || len(m.Mountpoint) >= len(byPath.Mountpoint) {
			byPath = m
		}
	}
	if best == nil {
		best = byPath // btrfs: stat shows another device number than the mount table
	}
	return best
}

// classOf is the class that the file system type alone gives, or "".
func (c Classifier) classOf(m *mountinfo.Info) (class, detail string) {
	fs := m.FSType
	switch {
	case fs == "nfs" || fs == "nfs4" || fs == "cifs" || fs == "smb3" || fs == "smbfs" || fs == "9p" || fs == "ceph" ||
		fs == "lustre" || fs == "glusterfs" || fs == "afs" || fs == "beegfs" || fs == "ncpfs" || fs == "gpfs" || fs == "virtiofs":
		return Network, m.Source
	case fs == "fuse" || strings.HasPrefix(fs, "fuse.") || fs == "fuseblk":
		return fuseClass(strings.TrimPrefix(fs, "fuse."), m.Source)
	case fs == "tmpfs" || fs == "ramfs" || fs == "hugetlbfs" || fs == "devtmpfs":
		return RAM, ""
	case fs == "overlay" || fs == "aufs":
		return Container, fs
	}
	return "", ""
}

func fuseClass(kind, source string) (class, detail string) {
	switch kind {
	case "fuseblk", "ntfs", "ntfs-3g", "exfat":
		return "", "" // a local disk behind a driver in user space
	case "encfs", "gocryptfs", "cryfs", "veracrypt", "bindfs", "mergerfs", "overlayfs", "fuse-overlayfs", "lxcfs", "portal", "gvfsd-fuse":
		return Fixed, kind
	}
	return FUSERemote, strings.Trim(kind+" "+source, " ")
}

// block classifies a block device by sysfs, and follows loop, dm and md devices
// down to what carries them.
func (c Classifier) block(major, minor int, d *api.Destination, depth int) {
	sys := c.Sys
	if sys == "" {
		sys = "/sys"
	}
	link := filepath.Join(sys, "dev", "block", strconv.Itoa(major)+":"+strconv.Itoa(minor))
	dir, err := filepath.EvalSymlinks(link)
	if err != nil || depth > 8 {
		return
	}
	if readText(dir, "partition") != "" {
		dir = filepath.Dir(dir)
	}
	name := filepath.Base(dir)
	if backing := readText(dir, "loop/backing_file"); backing != "" {
		d.Class, d.Detail = Image, backing
		return
	}
	if slaves, err := os.ReadDir(filepath.Join(dir, "slaves")); err == nil && len(slaves) > 0 {
		if maj, mnr, ok := devNumber(filepath.Join(dir, "slaves", slaves[0].Name())); ok {
			c.block(maj, mnr, d, depth+1)
			return
		}
	}
	facts(dir, d)
	if isRemovable(dir, name) {
		d.Class = Removable
	}
}

func devNumber(dir string) (major, minor int, ok bool) {
	a, b, ok := strings.Cut(readText(dir, "dev"), ":")
	major, err1 := strconv.Atoi(a)
	minor, err2 := strconv.Atoi(b)
	return major, minor, ok && err1 == nil && err2 == nil
}

// isRemovable is the rule: marked removable, or reached over a bus that people
// plug things into.
func isRemovable(dir, name string) bool {
	if readText(dir, "removable") == "1" || strings.HasPrefix(name, "mmcblk") && readText(dir, "device/type") == "SD" {
		return true
	}
	for part := range strings.SplitSeq(dir, "/") {
		if strings.HasPrefix(part, "usb") || strings.HasPrefix(part, "thunderbolt") || strings.HasPrefix(part, "fw") && len(part) > 2 && part[2] >= '0' && part[2] <= '9' {
			return true
		}
	}
	return false
}

// facts collects maker, model and serial number from the device and, for USB,
// from the nearest parent that has them.
func facts(dir string, d *api.Destination) {
	device := filepath.Join(dir, "device")
	d.Vendor = readText(device, "vendor")
	d.Product = readText(device, "model")
	if d.Product == "" {
		d.Product = readText(device, "name") // SD cards
	}
	d.Serial = readText(device, "serial")
	real, err := filepath.EvalSymlinks(device)
	if err != nil {
		return
	}
	for range 8 {
		if readText(real, "idVendor") != "" {
			d.Vendor = first(readText(real, "manufacturer"), d.Vendor)
			d.Product = first(readText(real, "product"), d.Product)
			d.Serial = first(readText(real, "serial"), d.Serial)
			return
		}
		real = filepath.Dir(real)
	}
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// readText reads a small sysfs attribute.
func readText(dir, name string) string {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 512)
	n, err := f.Read(b)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(b[:n]), "?"))
}
