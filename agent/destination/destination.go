// Package destination says what kind of place a file lies in: a fixed disk, a USB
// stick, a share, a folder that a sync client uploads, a container layer ... with
// maker, model and serial number of the device where there is one.
//
// The way is device number -> mount (/proc/self/mountinfo) -> block device
// (/sys). Both roots are parameters, so that tests can show devices that the
// machine does not have.
package destination

import (
	"strings"

	"weightwarden/internal/api"
)

// The classes of api.Destination.
const (
	Fixed      = "fixed"
	Removable  = "removable"
	Network    = "network"
	CloudSync  = "cloud_sync"
	FUSERemote = "fuse_remote"
	Container  = "container"
	Image      = "image"
	RAM        = "ram"
	GitRemote  = "git_remote"
	Download   = "download"
	Unknown    = "unknown"
)

// Classifier classifies places. It keeps no state; the zero value of a field
// means the place on a real machine.
type Classifier struct {
	MountInfo string   // "/proc/self/mountinfo"
	Sys       string   // "/sys"
	Cloud     []string // further folders that a sync client uploads
}

// cloudFolder recognises the folders of sync clients by the names that these
// clients give them.
func (c Classifier) cloudFolder(path string) (product string, ok bool) {
	for _, folder := range c.Cloud {
		if within(path, folder) {
			return folder, true
		}
	}
	for part := range strings.SplitSeq(path, "/") {
		low := strings.ToLower(part)
		for _, name := range []struct{ prefix, product string }{
			{"dropbox", "Dropbox"}, {"onedrive", "OneDrive"}, {"google drive", "Google Drive"},
			{"googledrive", "Google Drive"}, {"my drive", "Google Drive"}, {"nextcloud", "Nextcloud"},
			{"owncloud", "ownCloud"}, {"icloud", "iCloud"}, {"com~apple~clouddocs", "iCloud"},
			{"pcloud", "pCloud"}, {"syncthing", "Syncthing"}, {"insync", "Insync"}, {"megasync", "MEGA"}, {"box sync", "Box"},
		} {
			// "Dropbox", "Dropbox (Work)", "OneDrive - Company"; not "dropboxes".
			if rest, found := strings.CutPrefix(low, name.prefix); found && (rest == "" || rest[0] == ' ' || rest[0] == '-' || rest[0] == '(') {
				return name.product, true
			}
		}
	}
	return "", false
}

func downloadFolder(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		switch strings.ToLower(part) {
		case "downloads", "download", "téléchargements", "descargas":
			return true
		}
	}
	return false
}

func within(path, folder string) bool {
	folder = strings.TrimSuffix(folder, "/")
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// byPath refines a class by where on the mount the file lies.
func (c Classifier) byPath(path string, d *api.Destination) {
	switch d.Class {
	case Fixed, RAM, Image, Unknown, Container:
	default:
		return
	}
	if product, ok := c.cloudFolder(path); ok {
		d.Class, d.Detail = CloudSync, product
		return
	}
	if root, ok := containerRoot(path); ok {
		d.Class, d.Detail = Container, root
		return
	}
	if remote, ok := gitRemote(path); ok {
		d.Class, d.Detail = GitRemote, remote
		return
	}
	if d.Class == Fixed && downloadFolder(path) {
		d.Class = Download
	}
}

// containerRoot recognises the stores of container engines on the host's disk.
func containerRoot(path string) (string, bool) {
	for _, root := range []string{"/var/lib/docker/", "/var/lib/containers/", "/var/lib/containerd/", "/run/containerd/", "/var/lib/kubelet/pods/", "/var/lib/lxc/", "/var/lib/lxd/"} {
		if strings.HasPrefix(path, root) {
			return strings.Trim(root, "/"), true
		}
	}
	if strings.Contains(path, "/.local/share/containers/storage/") {
		return "podman (rootless)", true
	}
	return "", false
}
