package api

import "time"

// Paths of the side of people and programs. All but PathCA need a token
// ("Authorization: Bearer wwt1...").
const (
	PathCA             = "/v1/ca"               // GET: PEM, open to all
	PathWhoAmI         = "/v1/whoami"           // GET -> WhoAmI
	PathModels         = "/v1/models"           // GET -> List[Model]; + /NAME: GET, PUT ModelDescription, DELETE
	PathTokens         = "/v1/tokens"           // GET, POST TokenRequest -> TokenAnswer; + /ID: DELETE
	PathAccounts       = "/v1/accounts"         // GET, POST AccountRequest -> AccountAnswer; /ID/roles, /ID/state: PUT; /ID/password: POST -> AccountAnswer
	PathEnrolTokens    = "/v1/enrol-tokens"     // GET, POST EnrolTokenRequest -> TokenAnswer; + /ID: DELETE
	PathAgents         = "/v1/agents"           // GET; + /ID: GET; + /ID/state: PUT AgentState
	PathHitList        = "/v1/hits"             // GET; + /ID: GET
	PathAlerts         = "/v1/alerts"           // GET; + /ID: GET, PATCH AlertChange
	PathSnapshots      = "/v1/snapshots"        // GET; POST: publish now; + /latest/manifest, /latest/fpdb: GET
	PathAuthorisations = "/v1/authorisations"   // GET, POST; + /ID/approve: POST; + /ID: DELETE
	PathCopies         = "/v1/copies"           // GET: where copies of models were seen
	PathReconcile      = "/v1/reconcile"        // GET ?kind=&model=&days=N -> List[Difference]
	PathWebhooks       = "/v1/webhooks"         // + /SOURCE: POST, from MLflow or Hugging Face -> WebhookAnswer
	PathWebhookSources = "/v1/webhook-sources"  // GET, POST WebhookSource; + /ID: DELETE
	PathAnnouncements  = "/v1/announcements"    // GET ?state=all; + /ID/dismiss: POST Dismissal
	PathSweeps         = "/v1/sweeps"           // GET, POST NewSweep; + /ID: GET
	PathTargets        = "/v1/targets"          // GET, POST Target; + /ID: DELETE; + /ID/deliveries: GET; + /ID/replay: POST Replay
	PathNavigator      = "/v1/export/navigator" // GET ?since=TIME: ATT&CK Navigator layer
	PathAudit          = "/v1/audit"            // GET ?from=N -> AuditPage
	PathAuditHead      = "/v1/audit/head"       // GET: signed checkpoint
	PathAuditProof     = "/v1/audit/proof"      // GET ?old=N&new=N -> AuditProof
	PathAuditEntries   = "/v1/audit/entries"    // + /SEQ: GET [?size=N] -> AuditInclusion
)

// List is one page of a list. Next is what to give as ?after= for the next page;
// "" at the end.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// WhoAmI tells a caller who it is.
type WhoAmI struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Kind        string   `json:"kind"` // token, user
	Roles       []string `json:"roles"`
	Server      string   `json:"server"` // version
	CAPin       string   `json:"ca_pin"`
	SnapshotKey string   `json:"snapshot_key"` // note verifier key of manifests and audit checkpoints
}

// ModelDescription is what can be said of a model when it is registered.
type ModelDescription struct {
	Kind      string `json:"kind"`
	Owner     string `json:"owner,omitempty"`
	Tier      int    `json:"tier,omitempty"` // 1 most valuable .. 4; 0 not rated
	Regulated bool   `json:"regulated,omitempty"`
	Note      string `json:"note,omitempty"`
}

// NewArtifact registers one file of a version by its fingerprint.
type NewArtifact struct {
	Name        string `json:"name"`             // of the file, for people
	Source      string `json:"source,omitempty"` // run, commit, URL; kept with a new version
	Fingerprint []byte `json:"fingerprint"`      // as Fingerprint.Encode gives it, base64
	BLAKE3      string `json:"blake3,omitempty"` // as Artifact has it, so that the same file need not be read again to know that it is registered
}

// ArtifactAnswer says what became of a NewArtifact.
type ArtifactAnswer struct {
	ID       string `json:"id"`
	Added    bool   `json:"added"`    // false: it was there
	Snapshot int64  `json:"snapshot"` // epoch that has it; 0: asked for with ?publish=later, the next one will
}

// TokenRequest asks for an API token.
type TokenRequest struct {
	Name    string     `json:"name"`
	Roles   []string   `json:"roles"`
	Expires *time.Time `json:"expires,omitempty"` // absent: never
	// Networks, in CIDR notation, are where the token is good from; none: anywhere.
	Networks []string `json:"networks,omitempty"`
	// Models are patterns ("team-a-*") of the models that the token may register and
	// remove, if its roles allow that at all; none: all.
	Models []string `json:"models,omitempty"`
	// Owners are those whose models the token may register, change and remove, as
	// ModelDescription names them; none: everybody's. With Models both must hold.
	Owners []string `json:"owners,omitempty"`
}

// AccountRequest asks for a person's account.
type AccountRequest struct {
	Name  string   `json:"name"`
	Roles []string `json:"roles"`
}

// AccountRoles are an account's new roles.
type AccountRoles struct {
	Roles []string `json:"roles"`
}

// AccountState is "active" or "disabled".
type AccountState struct {
	State string `json:"state"`
}

// AccountAnswer has a password for one sign-in, shown this once.
type AccountAnswer struct {
	ID       string `json:"id"`
	Password string `json:"password"`
}

// AccountInfo is a person's account.
type AccountInfo struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Roles     []string   `json:"roles"`
	State     string     `json:"state"` // active, disabled
	Temporary bool       `json:"temporary"`
	Created   time.Time  `json:"created"`
	By        string     `json:"created_by"`
	LastUsed  *time.Time `json:"last_used,omitempty"`
	Failures  int        `json:"failures"` // wrong passwords since the last right one
}

// EnrolTokenRequest asks for an enrolment token.
type EnrolTokenRequest struct {
	Name   string            `json:"name"`
	Uses   int64             `json:"uses"`            // machines that may enrol with it
	Hours  int               `json:"hours,omitempty"` // how long it is good; 0: 24
	Labels map[string]string `json:"labels,omitempty"`
}

// TokenAnswer has the secret, shown this once.
type TokenAnswer struct {
	ID    string `json:"id"`
	Token string `json:"token"`
}

// TokenInfo is a token without its secret, of either kind.
type TokenInfo struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Roles    []string          `json:"roles,omitempty"`
	UsesLeft *int64            `json:"uses_left,omitempty"` // enrolment tokens
	Labels   map[string]string `json:"labels,omitempty"`
	Created  time.Time         `json:"created"`
	By       string            `json:"created_by"`
	Expires  *time.Time        `json:"expires,omitempty"`
	LastUsed *time.Time        `json:"last_used,omitempty"`
	Revoked  *time.Time        `json:"revoked,omitempty"`
	Networks []string          `json:"networks,omitempty"`
	Models   []string          `json:"models,omitempty"`
	Owners   []string          `json:"owners,omitempty"`
}

// AgentInfo is an enrolled machine as administrators see it.
type AgentInfo struct {
	ID           string            `json:"id"`
	Host         string            `json:"host"`
	OS           string            `json:"os"`
	Arch         string            `json:"arch"`
	Labels       map[string]string `json:"labels,omitempty"`
	State        string            `json:"state"` // active, revoked, cloned
	StateReason  string            `json:"state_reason,omitempty"`
	Version      string            `json:"version"`
	Enrolled     time.Time         `json:"enrolled"`
	CertExpires  time.Time         `json:"cert_expires"`
	Seen         time.Time         `json:"seen"`
	Snapshot     int64             `json:"snapshot"`
	Lag          int64             `json:"lag"`                   // epochs behind
	Policy       int64             `json:"policy"`                // revision of the policies that it holds, 0 for none
	PolicyNewest int64             `json:"policy_newest"`         // revision there is; more than policy: on its way
	PolicyName   string            `json:"policy_name,omitempty"` // and version of the policy that counts for it
	Pending      int64             `json:"pending"`
	Lost         int64             `json:"lost"`
	Gaps         int64             `json:"gaps"`
	Problems     int64             `json:"problems"`
	Heartbeat    *Heartbeat        `json:"heartbeat,omitempty"` // of one agent only
}

// AgentState revokes an agent or makes it active again.
type AgentState struct {
	State  string `json:"state"`
	Reason string `json:"reason"`
}

// HitInfo is a stored hit. Hit is present when one is asked for.
type HitInfo struct {
	ID          string    `json:"id"`
	Agent       string    `json:"agent"`
	Received    time.Time `json:"received"`
	Observed    time.Time `json:"observed"`
	Event       string    `json:"event"`
	Verdict     Word      `json:"verdict"`
	Model       string    `json:"model,omitempty"`
	Version     string    `json:"model_version,omitempty"`
	Kind        string    `json:"kind,omitempty"`
	Host        string    `json:"host"`
	User        string    `json:"user"`
	Process     string    `json:"process"`
	Path        string    `json:"path"`
	DestClass   string    `json:"destination"`
	Size        int64     `json:"size"`
	Coverage    float64   `json:"coverage"`
	Alert       string    `json:"alert,omitempty"`
	Authorised  string    `json:"authorised,omitempty"`
	Opinion     string    `json:"opinion,omitempty"`      // of the server: agrees, other, missed, unconfirmed, unregistered
	OpinionText string    `json:"opinion_text,omitempty"` // why, for people
	Hit         *Hit      `json:"hit,omitempty"`          // as the agent told it
}

// AlertInfo is a group of hits that belong together.
type AlertInfo struct {
	ID         string    `json:"id"`
	DedupKey   string    `json:"dedup_key"`
	State      string    `json:"state"`    // open, acknowledged, closed
	Severity   int       `json:"severity"` // 1 critical .. 4 low
	Verdict    Word      `json:"verdict"`
	Model      string    `json:"model"`
	Version    string    `json:"model_version"`
	Agent      string    `json:"agent"`
	Host       string    `json:"host"`
	User       string    `json:"user"`
	DestClass  string    `json:"destination"`
	Coverage   float64   `json:"coverage"`
	Path       string    `json:"path"`
	Process    string    `json:"process"`
	Hits       int64     `json:"hits"`
	FirstSeen  time.Time `json:"first_seen"`
	LastSeen   time.Time `json:"last_seen"`
	Owner      string    `json:"owner,omitempty"`
	Resolution string    `json:"resolution,omitempty"`
	Note       string    `json:"note,omitempty"`
	Case       string    `json:"case,omitempty"`
}

// AlertChange changes what is given and leaves the rest.
type AlertChange struct {
	State      *string `json:"state,omitempty"`
	Severity   *int    `json:"severity,omitempty"`
	Owner      *string `json:"owner,omitempty"`
	Resolution *string `json:"resolution,omitempty"` // true_positive, false_positive, authorised, test
	Note       *string `json:"note,omitempty"`
}

// SnapshotInfo is one epoch of the registry.
type SnapshotInfo struct {
	Epoch   int64     `json:"epoch"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Entries int64     `json:"entries"`
	BLAKE3  string    `json:"blake3"`
	Bytes   int64     `json:"bytes"`
	Reason  string    `json:"reason,omitempty"`
}

// Authorisation says who or what may hold a copy of a model, and until when.
// Empty patterns match anything.
type Authorisation struct {
	ID         string     `json:"id,omitempty"`
	Model      string     `json:"model"`
	Host       string     `json:"host,omitempty"`
	User       string     `json:"user,omitempty"`
	Program    string     `json:"program,omitempty"`
	Path       string     `json:"path,omitempty"` // pattern; "/srv/models/**" for a tree
	Reason     string     `json:"reason"`
	Expires    time.Time  `json:"expires"`
	CreatedBy  string     `json:"created_by,omitempty"`
	ApprovedBy string     `json:"approved_by,omitempty"` // second person, needed for tier 1
	Revoked    *time.Time `json:"revoked,omitempty"`
}

// Copy is where a copy of a model was last seen.
type Copy struct {
	Host       string    `json:"host"`
	Agent      string    `json:"agent"`
	Path       string    `json:"path"`
	Model      string    `json:"model"`
	Version    string    `json:"model_version"`
	Verdict    Word      `json:"verdict"`
	DestClass  string    `json:"destination"`
	Size       int64     `json:"size"`
	User       string    `json:"user"`
	FirstSeen  time.Time `json:"first_seen"`
	LastSeen   time.Time `json:"last_seen"`
	Hit        string    `json:"hit"`
	Authorised string    `json:"authorised,omitempty"` // "": nobody allowed it
}

// Difference is one point in which the registry, what is allowed and what agents saw
// do not agree; docs/registry.md defines the kinds and reasons.
type Difference struct {
	Kind          string     `json:"kind"`   // unregistered, misplaced, missing
	Reason        string     `json:"reason"` // a word for programs: never_authorised, copy_not_seen, ...
	Text          string     `json:"text"`   // the same for people
	Model         string     `json:"model"`
	Version       string     `json:"model_version,omitempty"`
	Host          string     `json:"host,omitempty"` // of an authorisation: its pattern
	Agent         string     `json:"agent,omitempty"`
	Path          string     `json:"path,omitempty"`          // of an authorisation: its pattern
	Authorisation string     `json:"authorisation,omitempty"` // id of the one that it is about
	Hit           string     `json:"hit,omitempty"`           // last one on the copy
	By            string     `json:"by,omitempty"`            // webhook source that announced the version
	Since         time.Time  `json:"since"`                   // copy first seen, version registered or announced, authorisation made
	LastSeen      *time.Time `json:"last_seen,omitempty"`
	Unobserved    bool       `json:"unobserved,omitempty"` // no agent is there now that would see the copy
}

// WebhookSource is a model registry elsewhere that may tell of new versions.
type WebhookSource struct {
	ID       string     `json:"id,omitempty"`
	Name     string     `json:"name"`
	Provider string     `json:"provider"`         // mlflow, huggingface
	Secret   string     `json:"secret,omitempty"` // absent: the server makes one; shown in the answer that made it only
	Path     string     `json:"path,omitempty"`   // where the provider posts to
	Created  *time.Time `json:"created,omitempty"`
	By       string     `json:"created_by,omitempty"`
	LastUsed *time.Time `json:"last_used,omitempty"` // last webhook that proved itself
}

// WebhookAnswer says what a webhook came to.
type WebhookAnswer struct {
	Announced int `json:"announced"` // versions that wait now and did not before
}

// Announcement is a version of a model that a webhook told of. It waits until fpctl
// model add registers model and version, or somebody dismisses it.
type Announcement struct {
	ID        string     `json:"id"`
	Model     string     `json:"model"` // as it is to be registered
	Version   string     `json:"model_version"`
	Kind      string     `json:"kind,omitempty"` // dataset where the provider says so
	Title     string     `json:"title"`          // the model's name at the provider
	Origin    string     `json:"origin,omitempty"`
	Who       string     `json:"who,omitempty"` // as the provider names them
	Provider  string     `json:"provider"`
	By        string     `json:"by"` // name of the source
	Announced time.Time  `json:"announced"`
	Closed    *time.Time `json:"closed,omitempty"`
	ClosedBy  string     `json:"closed_by,omitempty"`
	Note      string     `json:"note,omitempty"` // why it was dismissed
}

// Dismissal says why an announced version need not be registered.
type Dismissal struct {
	Reason string `json:"reason"`
}

// AuditPage has leaves of the audit log, byte for byte as they were hashed, and
// what the server keeps beside them. It may have fewer than were asked for: the end
// is where Leaves is empty.
type AuditPage struct {
	From   int64            `json:"from"`
	Leaves [][]byte         `json:"leaves"` // base64 of JSON
	Hashes [][]byte         `json:"hashes"` // base64: what the leaves added to the tree, as golang.org/x/mod/sumdb/tlog orders stored hashes
	Cases  []AuditCaseEntry `json:"cases"`
}

// AuditCaseEntry says that the evidence of a case has an entry of the audit log.
type AuditCaseEntry struct {
	Case string `json:"case"`
	Seq  int64  `json:"seq"`
}

// AuditInclusion proves that an entry is in the audit log of a size (RFC 6962,
// section 2.1.1).
type AuditInclusion struct {
	Seq        int64    `json:"seq"`
	Leaf       []byte   `json:"leaf"` // base64 of JSON
	Size       int64    `json:"size"`
	Checkpoint string   `json:"checkpoint"` // size and root, signed with the server's snapshot key
	Hashes     []string `json:"hashes"`     // base64
}

// AuditProof proves that the log of size Old is the beginning of that of size New.
type AuditProof struct {
	Old    int64    `json:"old"`
	New    int64    `json:"new"`
	Hashes []string `json:"hashes"` // base64, RFC 6962 order
}

// Target is a place that is told when an alert opens or closes.
type Target struct {
	ID           string     `json:"id,omitempty"`
	Name         string     `json:"name"`
	Kind         string     `json:"kind"`                    // webhook, syslog
	URL          string     `json:"url"`                     // https://... or tls://HOST:PORT
	Format       string     `json:"format"`                  // native, ocsf, ecs, slack, teams, pagerduty; for syslog cef, ocsf, ecs
	AllowPrivate bool       `json:"allow_private,omitempty"` // may lie in a private network
	Recipients   []string   `json:"recipients,omitempty"`    // whom it reaches ("CISO", "Legal"): it gets what is for them and nothing else
	Secret       string     `json:"secret,omitempty"`        // "whsec_...", shown once, in the answer that made it
	RoutingKey   string     `json:"routing_key,omitempty"`   // of PagerDuty: taken, never shown
	Waiting      int        `json:"waiting,omitempty"`
	Failures     int        `json:"failures,omitempty"` // in a row
	PausedUntil  *time.Time `json:"paused_until,omitempty"`
	LastError    string     `json:"last_error,omitempty"`
}

// Delivery is one message to a target.
type Delivery struct {
	ID        string     `json:"id"`
	Event     string     `json:"event"`
	Alert     string     `json:"alert"`
	Created   time.Time  `json:"created"`
	Attempts  int        `json:"attempts"`
	Delivered *time.Time `json:"delivered,omitempty"`
	Error     string     `json:"error,omitempty"`
}

// Replay sends what was delivered since a time once more.
type Replay struct {
	Since time.Time `json:"since"`
}

// NewSweep orders every agent to look at what is already there.
type NewSweep struct {
	Model string   `json:"model,omitempty"` // for people: hits on it answer the question
	Paths []string `json:"paths,omitempty"` // empty: every watched place
	Hours int      `json:"hours,omitempty"` // how long agents are waited for; 0: 24
}

// SweepInfo is a sweep with its coverage: what was not reached is not clean.
type SweepInfo struct {
	ID        string    `json:"id"`
	Model     string    `json:"model,omitempty"`
	Paths     []string  `json:"paths,omitempty"`
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
	Ends      time.Time `json:"ends"`
	Agents    int64     `json:"agents"` // active ones
	Asked     int64     `json:"asked"`
	Done      int64     `json:"done"`
	Files     int64     `json:"files"` // that the done ones looked at
	Complete  bool      `json:"complete"`
}
