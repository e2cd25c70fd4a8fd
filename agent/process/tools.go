package process

import (
	"path/filepath"
	"strings"

	"weightwarden/internal/api"
)

// Uploads reports whether a process is a tool whose purpose is to carry files
// away, by its program's name.
func Uploads(p *api.Process) bool {
	switch strings.ToLower(programName(p)) {
	case "scp", "sftp", "sftp-server", "rsync", "rclone", "curl", "wget", "aws", "s3cmd", "s5cmd", "mc", "gsutil", "gcloud", "az", "azcopy",
		"b2", "huggingface-cli", "hf", "git-lfs", "git-remote-https", "ftp", "lftp", "ncftpput", "nc", "ncat", "netcat", "socat", "smbclient",
		"croc", "magic-wormhole", "wormhole", "tailscale", "syncthing", "dropbox", "onedrive", "nextcloud", "insync", "megacmd",
		"firefox", "firefox-bin", "chrome", "chromium", "google-chrome", "msedge", "brave", "obexd", "docker", "podman", "skopeo", "oras", "restic", "borg":
		return true
	}
	return false
}

// Interprets reports whether a process runs scripts: then only a connection shows
// that it carries files away.
func Interprets(p *api.Process) bool {
	name := strings.ToLower(programName(p))
	for _, prefix := range []string{"python", "node", "ruby", "perl", "java", "php", "deno", "bun"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// programName is the script's name for tools that are scripts (huggingface-cli is
// python3), else that of the program.
func programName(p *api.Process) string {
	if len(p.Args) > 1 && p.Exe != "" && filepath.Base(p.Exe) != filepath.Base(p.Args[0]) && !strings.HasPrefix(p.Args[1], "-") {
		if name := filepath.Base(p.Args[1]); p.Name == name {
			return name
		}
	}
	if p.Name != "" {
		return p.Name
	}
	return filepath.Base(p.Exe)
}
