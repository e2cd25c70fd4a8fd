package api

import "time"

// Hit is a verdict that an agent reports, with who did it and where. (AgentID,
// Epoch, Seq) is its identity: delivering it again changes nothing.
type Hit struct {
	SchemaVersion int         `json:"schema_version"`
	AgentID       string      `json:"agent_id"`
	Epoch         string      `json:"epoch"` // random per spool, so that a restored disk image is noticed
	Seq           uint64      `json:"seq"`   // from 1 on, without holes, per epoch
	ObservedAt    time.Time   `json:"observed_at"`
	Event         string      `json:"event"` // "write", "rename", "link", "create", "open", "scan", "sweep", "archive"
	Host          Host        `json:"host"`
	Process       *Process    `json:"process,omitempty"` // absent: attribution lost, see ProcessNote
	ProcessNote   string      `json:"process_note,omitempty"`
	User          User        `json:"user"`
	Destination   Destination `json:"destination"`
	PreviousPath  string      `json:"previous_path,omitempty"` // of a rename or link
	FileID        string      `json:"file_id,omitempty"`       // device:inode, for joining events
	Modified      time.Time   `json:"modified"`
	Snapshot      int64       `json:"snapshot"` // registry epoch that judged
	Verdict       Verdict     `json:"verdict"`
	Action        string      `json:"action,omitempty"` // what policy did: "alert", "quarantine", "deny"
}

// Host is the machine of an agent.
type Host struct {
	Name     string `json:"name"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	Kernel   string `json:"kernel,omitempty"`
	BootID   string `json:"boot_id,omitempty"`
	Machine  string `json:"machine_id,omitempty"`
	Platform string `json:"platform,omitempty"` // "debian 12.9"
}

// Process is who wrote or read the file.
type Process struct {
	PID       int        `json:"pid"`
	PPID      int        `json:"ppid,omitempty"`
	Started   *time.Time `json:"started,omitempty"`
	Name      string     `json:"name"`
	Exe       string     `json:"exe,omitempty"`
	ExeBLAKE3 string     `json:"exe_blake3,omitempty"`
	Args      []string   `json:"args,omitempty"` // cut to 64 of 1 KiB
	Cwd       string     `json:"cwd,omitempty"`
	UID       int        `json:"uid"`
	LoginUID  *int       `json:"login_uid,omitempty"`
	Session   *int       `json:"session,omitempty"`
	TTY       string     `json:"tty,omitempty"`
	Container string     `json:"container,omitempty"`
	Cgroup    string     `json:"cgroup,omitempty"`
	Remote    string     `json:"remote,omitempty"`    // address of a socket it holds, for uploads
	Certainty string     `json:"certainty"`           // "exact", "likely" (has the file open), "guessed"
	Ancestors []Process  `json:"ancestors,omitempty"` // nearest first, at most 16
}

// User is the person or account behind the event.
type User struct {
	Name string `json:"name"`
	UID  int    `json:"uid"`            // -1 unknown
	From string `json:"from,omitempty"` // "process", "login", "file_owner"
}

// Destination is where the file lies now.
type Destination struct {
	Class      string `json:"class"` // fixed, removable, network, cloud_sync, fuse_remote, container, image, ram, archive, git_remote, download, unknown
	Mount      string `json:"mount,omitempty"`
	Filesystem string `json:"filesystem,omitempty"`
	Device     string `json:"device,omitempty"`
	Vendor     string `json:"vendor,omitempty"`
	Product    string `json:"product,omitempty"`
	Serial     string `json:"serial,omitempty"`
	Detail     string `json:"detail,omitempty"` // share, remote, sync product ...
}
