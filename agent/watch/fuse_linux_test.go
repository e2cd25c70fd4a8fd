package watch

import (
	"os/exec"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	fusefs "github.com/hanwen/go-fuse/v2/fuse"
)

// fuse mounts a file system of this process's own over a folder, as sshfs and
// rclone do: what is written there is written once more by its server.
func fuse(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("fusermount3"); err != nil {
		if _, err := exec.LookPath("fusermount"); err != nil {
			t.Skip(err)
		}
	}
	root, err := fs.NewLoopbackRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	server, err := fs.Mount(dir, root, &fs.Options{MountOptions: fusefs.MountOptions{AllowOther: true, DirectMount: true, FsName: "matrix", Name: "test"}})
	if err != nil {
		t.Skipf("FUSE cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Errorf("unmount %s: %v (something holds a file open)", dir, err)
		}
	})
	return dir
}
