package destination

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weightwarden/internal/api"
)

const mounts = `21 1 8:2 / / rw - ext4 /dev/sda2 rw
30 21 8:17 / /media/alice/STICK rw - vfat /dev/sdb1 rw
31 21 0:50 / /mnt/share rw - nfs4 filer:/export rw
32 21 0:51 / /mnt/ssh rw - fuse.sshfs bob@host:/ rw
33 21 0:52 / /dev/shm rw - tmpfs tmpfs rw
34 21 7:0 / /mnt/img rw - ext4 /dev/loop0 rw
35 21 253:0 / /mnt/crypt rw - ext4 /dev/mapper/c rw
36 21 0:53 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
37 21 179:1 / /media/sd rw - vfat /dev/mmcblk0p1 rw
38 21 259:1 / /data rw - xfs /dev/nvme0n1p1 rw
39 21 0:54 / /mnt/ntfs rw - fuseblk /dev/sdb1 rw
40 21 0:55 / /mnt/cifs rw - cifs //srv/x rw
`

// tree makes a fake machine: files by path below its /sys, and links.
func tree(t *testing.T) Classifier {
	t.Helper()
	root := t.TempDir()
	write := func(name, text string) {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, to string) {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(root, to), p); err != nil {
			t.Fatal(err)
		}
	}
	usb := "sys/devices/pci0/usb1/1-2"
	write(usb+"/idVendor", "0951")
	write(usb+"/manufacturer", "Kingston")
	write(usb+"/product", "DataTraveler")
	write(usb+"/serial", "E0D55E")
	write(usb+"/host6/target/6:0:0:0/vendor", "KNG     ")
	stick := usb + "/host6/target/6:0:0:0/block/sdb"
	write(stick+"/removable", "0") // many sticks and disks say 0; the bus tells
	write(stick+"/sdb1/partition", "1")
	link(stick+"/device", usb+"/host6/target/6:0:0:0")
	link("sys/dev/block/8:17", stick+"/sdb1")

	disk := "sys/devices/pci0/ata1/block/sda"
	write(disk+"/removable", "0")
	write(disk+"/sda2/partition", "2")
	write(disk+"/dev", "8:0")
	write("sys/devices/pci0/ata1/target/model", "Samsung SSD")
	link(disk+"/device", "sys/devices/pci0/ata1/target")
	link("sys/dev/block/8:2", disk+"/sda2")
	link("sys/dev/block/8:0", disk)

	write("sys/devices/virtual/block/loop0/loop/backing_file", "/home/bob/disk.img")
	link("sys/dev/block/7:0", "sys/devices/virtual/block/loop0")

	write("sys/devices/virtual/block/dm-0/size", "1")
	link("sys/devices/virtual/block/dm-0/slaves/sdb1", stick+"/sdb1")
	write(stick+"/sdb1/dev", "8:17")
	link("sys/dev/block/253:0", "sys/devices/virtual/block/dm-0")

	sd := "sys/devices/platform/mmc0/block/mmcblk0"
	write(sd+"/removable", "0")
	write(sd+"/mmcblk0p1/partition", "1")
	write("sys/devices/platform/mmc0/card/type", "SD")
	write("sys/devices/platform/mmc0/card/name", "SU08G")
	link(sd+"/device", "sys/devices/platform/mmc0/card")
	link("sys/dev/block/179:1", sd+"/mmcblk0p1")

	write("mountinfo", strings.TrimSuffix(mounts, "\n"))
	return Classifier{MountInfo: filepath.Join(root, "mountinfo"), Sys: filepath.Join(root, "sys"), Cloud: []string{"/srv/sync"}}
}

func TestClassify(t *testing.T) {
	c := tree(t)
	for _, tt := range []struct {
		path         string
		major, minor int
		want         api.Destination
	}{
		{"/home/a/x", 8, 2, api.Destination{Class: Fixed, Mount: "/", Filesystem: "ext4", Device: "/dev/sda2", Product: "Samsung SSD"}},
		{"/media/alice/STICK/x", 8, 17, api.Destination{Class: Removable, Mount: "/media/alice/STICK", Filesystem: "vfat", Device: "/dev/sdb1",
			Vendor: "Kingston", Product: "DataTraveler", Serial: "E0D55E"}},
		{"/mnt/crypt/x", 253, 0, api.Destination{Class: Removable, Mount: "/mnt/crypt", Filesystem: "ext4", Device: "/dev/mapper/c",
			Vendor: "Kingston", Product: "DataTraveler", Serial: "E0D55E"}},
		{"/mnt/share/x", 0, 50, api.Destination{Class: Network, Mount: "/mnt/share", Filesystem: "nfs4", Device: "filer:/export", Detail: "filer:/export"}},
		{"/mnt/cifs/x", 0, 55, api.Destination{Class: Network, Mount: "/mnt/cifs", Filesystem: "cifs", Device: "//srv/x", Detail: "//srv/x"}},
		{"/mnt/ssh/x", 0, 51, api.Destination{Class: FUSERemote, Mount: "/mnt/ssh", Filesystem: "fuse.sshfs", Device: "bob@host:/", Detail: "sshfs bob@host:/"}},
		{"/dev/shm/x", 0, 52, api.Destination{Class: RAM, Mount: "/dev/shm", Filesystem: "tmpfs", Device: "tmpfs"}},
		{"/mnt/img/x", 7, 0, api.Destination{Class: Image, Mount: "/mnt/img", Filesystem: "ext4", Device: "/dev/loop0", Detail: "/home/bob/disk.img"}},
		{"/var/lib/docker/overlay2/x/merged/y", 0, 53, api.Destination{Class: Container, Mount: "/var/lib/docker/overlay2/x/merged", Filesystem: "overlay", Device: "overlay", Detail: "var/lib/docker"}},
		{"/media/sd/x", 179, 1, api.Destination{Class: Removable, Mount: "/media/sd", Filesystem: "vfat", Device: "/dev/mmcblk0p1", Product: "SU08G"}},
		{"/data/x", 259, 1, api.Destination{Class: Fixed, Mount: "/data", Filesystem: "xfs", Device: "/dev/nvme0n1p1"}},
		{"/mnt/ntfs/x", 0, 54, api.Destination{Class: Fixed, Mount: "/mnt/ntfs", Filesystem: "fuseblk", Device: "/dev/sdb1"}},
		{"/home/a/Dropbox (Work)/x", 8, 2, api.Destination{Class: CloudSync, Mount: "/", Filesystem: "ext4", Device: "/dev/sda2", Product: "Samsung SSD", Detail: "Dropbox"}},
		{"/home/a/dropboxes/x", 8, 2, api.Destination{Class: Fixed, Mount: "/", Filesystem: "ext4", Device: "/dev/sda2", Product: "Samsung SSD"}},
		{"/srv/sync/x", 8, 2, api.Destination{Class: CloudSync, Mount: "/", Filesystem: "ext4", Device: "/dev/sda2", Product: "Samsung SSD", Detail: "/srv/sync"}},
		{"/home/a/Downloads/x", 8, 2, api.Destination{Class: Download, Mount: "/", Filesystem: "ext4", Device: "/dev/sda2", Product: "Samsung SSD"}},
	} {
		if diff := cmp.Diff(tt.want, c.Classify(tt.path, tt.major, tt.minor)); diff != "" {
			t.Errorf("%s: %s", tt.path, diff)
		}
	}
	none := Classifier{MountInfo: "/nonexistent", Sys: "/nonexistent"}
	if got := none.Classify("/x", 1, 2); got.Class != Unknown {
		t.Errorf("without a mount table: %+v", got)
	}
}

func TestGitRemote(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ config, want string }{
		{"[remote \"origin\"]\n\turl = https://user:secret@github.com/x/y.git\n", "https://user:xxxxx@github.com/x/y.git"},
		{"[remote \"origin\"]\n\turl = git@host:x/y\n", "git@host:x/y"},
		{"[remote \"origin\"]\n\turl = /srv/git/x\n", ""},
		{"[core]\n\turl = https://no.example/\n", ""},
	} {
		if err := os.WriteFile(filepath.Join(dir, ".git", "config"), []byte(tt.config), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, _ := gitRemote(filepath.Join(deep, "model.pt")); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.config, got, tt.want)
		}
	}
}
