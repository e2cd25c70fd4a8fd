package api

import "time"

// Paths of the agent's side of the API. All but Enroll need the client
// certificate that enrolment gave.
const (
	PathEnroll    = "/v1/agent/enroll"    // POST EnrollRequest -> EnrollAnswer
	PathRenew     = "/v1/agent/renew"     // POST RenewRequest -> EnrollAnswer
	PathHits      = "/v1/agent/hits"      // POST HitBatch -> HitAnswer
	PathHeartbeat = "/v1/agent/heartbeat" // POST Heartbeat -> HeartbeatAnswer
	PathManifest  = "/v1/agent/snapshot"  // GET: signed manifest (text, see internal/snapshot)
	PathBlob      = "/v1/agent/blobs/"    // GET + BLAKE3 hex: a blob that a manifest names
	PathPolicy    = "/v1/agent/policy"    // GET: signed policy
)

// EnrollRequest turns a one-time token into an identity. The private key never
// leaves the agent.
type EnrollRequest struct {
	Token   string `json:"token"`
	CSR     string `json:"csr"` // PEM, ECDSA P-256
	Host    Host   `json:"host"`
	Version string `json:"version"` // of the agent
}

// RenewRequest asks for a new certificate with the old one still valid.
type RenewRequest struct {
	CSR string `json:"csr"`
}

// EnrollAnswer is an agent's identity.
type EnrollAnswer struct {
	AgentID     string    `json:"agent_id"`
	Certificate string    `json:"certificate"`  // PEM chain
	CA          string    `json:"ca"`           // PEM, pins the server
	SnapshotKey string    `json:"snapshot_key"` // note verifier key of manifests and policies
	NotAfter    time.Time `json:"not_after"`
}

// HitBatch delivers hits, in order of Seq.
type HitBatch struct {
	Hits []Hit `json:"hits"`
}

// HitAnswer acknowledges: every hit of the batch up to and including
// Acknowledged is on the server's disk. Duplicates count as acknowledged.
// Rejected hits can never be stored (malformed); the agent sets them aside.
type HitAnswer struct {
	Acknowledged uint64     `json:"acknowledged"`
	Rejected     []Rejected `json:"rejected,omitempty"`
}

// Rejected is a hit that the server refuses for good.
type Rejected struct {
	Seq    uint64 `json:"seq"`
	Reason string `json:"reason"`
}

// Heartbeat is an agent's account of itself.
type Heartbeat struct {
	Epoch     string    `json:"epoch"`
	SentAt    time.Time `json:"sent_at"`
	Started   time.Time `json:"started"`
	Version   string    `json:"version"`
	Host      Host      `json:"host"`
	Snapshot  int64     `json:"snapshot"` // registry epoch held
	Policy    int64     `json:"policy"`   // policy version held
	Watches   []Watch   `json:"watches"`
	Spool     SpoolInfo `json:"spool"`
	Gaps      []Gap     `json:"gaps,omitempty"`
	Health    []Health  `json:"health,omitempty"`
	Over      []Health  `json:"over,omitempty"` // conditions that ended, for a day and until the server knows
	FilesSeen uint64    `json:"files_seen"`
	BytesRead uint64    `json:"bytes_read"`
}

// Watch is one watched place and the means by which it is watched.
type Watch struct {
	Path   string `json:"path"`
	Tier   string `json:"tier"`  // "fanotify", "fsnotify", "sweep"
	State  string `json:"state"` // "ok", "broken", "partial"
	Detail string `json:"detail,omitempty"`
}

// SpoolInfo is what waits on the agent's disk.
type SpoolInfo struct {
	Pending int64  `json:"pending"` // hits not acknowledged yet
	Bytes   int64  `json:"bytes"`
	Lost    uint64 `json:"lost"` // notes of closed gaps forgotten before the server knew of them; hits never are
}

// Gap is a time and place that was not watched.
type Gap struct {
	ID     string     `json:"id"`
	Path   string     `json:"path"`
	From   time.Time  `json:"from"`
	To     time.Time  `json:"to"`
	Cause  string     `json:"cause"`            // "overflow", "stopped", "suspend", "unreadable", ...
	Closed *time.Time `json:"closed,omitempty"` // when a sweep made up for it
	Files  int64      `json:"files"`            // files that the sweep looked at
}

// HealthRegistryRefused is the code of the condition that the agent refuses the
// registry it is offered: rolled back, expired, malformed, not signed by the server's
// key, or not what its manifest names. It goes on with the last good one.
const HealthRegistryRefused = "registry.refused"

// Health is one named condition that is not as it should be.
type Health struct {
	Code     string    `json:"code"`
	Severity string    `json:"severity"` // warning, error
	Text     string    `json:"text"`
	Since    time.Time `json:"since"`
	// Until is when a condition ended; nil while it is there.
	Until *time.Time `json:"until,omitempty"`
}

// HeartbeatAnswer tells an agent what is new.
type HeartbeatAnswer struct {
	Snapshot int64     `json:"snapshot"` // newest registry epoch
	Policy   int64     `json:"policy"`   // newest policy version
	Now      time.Time `json:"now"`
	Sweeps   []Sweep   `json:"sweeps,omitempty"`
}

// Sweep asks agents to look at what is already there.
type Sweep struct {
	ID    string   `json:"id"`
	Model string   `json:"model,omitempty"` // "" for all
	Paths []string `json:"paths,omitempty"` // empty for every watched place
}

// Model is a registered model with its versions.
type Model struct {
	Name      string         `json:"name"`
	Kind      string         `json:"kind"` // protected, public, dataset
	Owner     string         `json:"owner,omitempty"`
	Tier      int            `json:"tier,omitempty"` // 1 most valuable .. 4
	Regulated bool           `json:"regulated,omitempty"`
	Note      string         `json:"note,omitempty"`
	Created   time.Time      `json:"created"`
	Versions  []ModelVersion `json:"versions"`
}

// ModelVersion is one registered version.
type ModelVersion struct {
	Version   string     `json:"version"`
	Source    string     `json:"source,omitempty"` // run, commit, URL
	Created   time.Time  `json:"created"`
	Artifacts []Artifact `json:"artifacts"`
}

// Artifact is one registered file; its fingerprint is sent by the client, the
// weights never are.
type Artifact struct {
	ID         string `json:"id"`
	Name       string `json:"name"` // base name of the file
	Format     string `json:"format"`
	Size       int64  `json:"size"`
	Tensors    int    `json:"tensors"`
	Parameters int64  `json:"parameters"`
	Content    string `json:"content"`          // content digest, hex
	BLAKE3     string `json:"blake3,omitempty"` // of the file, hex; of shards: of their digests in order of their names; "" where nobody told it
}

// Problem is an error answer, RFC 9457 (application/problem+json).
type Problem struct {
	Type   string `json:"type,omitempty"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
}
