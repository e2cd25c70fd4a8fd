package server

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"weightwarden/internal/api"
	"weightwarden/internal/policy"
	"weightwarden/server/auth"
	"weightwarden/server/ingest"
	"weightwarden/server/store"
)

// How long a signed policy is good, and how often its dates change: between two
// changes of the policies an agent gets the same bytes for half a day.
const (
	policyLife = 14 * 24 * time.Hour
	policySlot = 12 * time.Hour
)

// policy answers an agent with the policy that counts for it, signed. The version
// in the note is the revision of all policies, so that an agent that changes from
// one policy to another still sees it grow.
func (s *Server) policy(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	set, err := s.store.Policies(r.Context())
	if err != nil {
		return err
	}
	labels, held, err := s.store.AgentPolicyFacts(r.Context(), p.ID)
	if err != nil {
		return err
	}
	chosen := set.For(labels)
	if chosen == nil && held == 0 {
		return refuse(http.StatusNotFound, "the server has no policy for this agent")
	}
	signed, err := s.signPolicy(set.Revision, chosen)
	if err != nil {
		return err
	}
	tag := fmt.Sprintf(`"%d-%d"`, set.Revision, s.now().Truncate(policySlot).Unix())
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(signed) // the client may be gone
	return nil
}

// signPolicy signs chosen, or for nil the policy that asks for nothing: what an
// agent that held one must get when none is meant for it any more.
func (s *Server) signPolicy(revision int64, chosen *store.Policy) ([]byte, error) {
	created := s.now().UTC().Truncate(policySlot)
	p := policy.Policy{Version: max(revision, 1), Name: "none", Created: created, Expires: created.Add(policyLife)}
	if chosen != nil {
		p.Name, p.Rules = fmt.Sprintf("%s version %d", chosen.Name, chosen.Version), chosen.Rules
	}
	return policy.Sign(&p, s.signer)
}

func policyInfo(p store.Policy) api.PolicyInfo {
	return api.PolicyInfo{Name: p.Name, Version: p.Version, Selector: p.Selector, Priority: p.Priority, Note: p.Note, Rules: p.Rules, Deleted: p.Deleted,
		Created: p.Created, CreatedBy: p.CreatedBy}
}

func (s *Server) listPolicies(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	set, err := s.store.Policies(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(set.Policies, len(set.Policies), nil, policyInfo))
}

func (s *Server) getPolicy(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	versions, err := s.store.PolicyVersions(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	out := api.PolicyHistory{Versions: []api.PolicyInfo{}}
	for _, v := range versions {
		out.Versions = append(out.Versions, policyInfo(v))
	}
	return writeJSON(w, http.StatusOK, out)
}

func (s *Server) putPolicy(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.PolicyRequest
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	name := r.PathValue("name")
	if err := checkName("policy", name); err != nil {
		return err
	}
	if err := checkLabels(req.Selector); err != nil {
		return err
	}
	if len(req.Note) > 10000 || req.Priority < -1000 || req.Priority > 1000 {
		return refuse(http.StatusUnprocessableEntity, "want a note of at most 10000 bytes and a priority of -1000 to 1000")
	}
	if err := checkRules(&req.Rules); err != nil {
		return err
	}
	wanted := store.Policy{Name: name, Selector: req.Selector, Priority: req.Priority, Rules: req.Rules, Note: req.Note}
	if _, err := s.signPolicy(1, &wanted); err != nil {
		return refuse(http.StatusUnprocessableEntity, "%v", err) // no agent would take it
	}
	stored, err := s.store.PutPolicy(r.Context(), p.Actor, wanted)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, policyInfo(stored))
}

// checkRules refuses words that no verdict and no destination has: a rule with a
// typing error would protect nothing and look as if it did.
func checkRules(r *policy.Rules) error {
	for _, v := range r.Verdicts {
		if !api.Word(v).IsHit() {
			return refuse(http.StatusUnprocessableEntity, "quarantine_verdicts: %.40q is no verdict of a copy", v)
		}
	}
	for _, d := range r.Destinations {
		if destinationLabel(d) != d {
			return refuse(http.StatusUnprocessableEntity, "quarantine_destinations: %.40q is no class of destination", d)
		}
	}
	return nil
}

// checkLabels bounds labels and selectors.
func checkLabels(labels map[string]string) error {
	if len(labels) > 32 {
		return refuse(http.StatusUnprocessableEntity, "%d labels, at most 32", len(labels))
	}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if err := checkName("label", k); err != nil {
			return err
		}
		if len(labels[k]) > 255 {
			return refuse(http.StatusUnprocessableEntity, "label %s has %d bytes, at most 255", k, len(labels[k]))
		}
	}
	return nil
}

func (s *Server) rollbackPolicy(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.PolicyRollback
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	stored, err := s.store.RollbackPolicy(r.Context(), p.Actor, r.PathValue("name"), req.Version)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, policyInfo(stored))
}

func (s *Server) deletePolicy(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	return done(w, s.store.DeletePolicy(r.Context(), p.Actor, r.PathValue("name")))
}

func (s *Server) setAgentLabels(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.AgentLabels
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	if err := checkLabels(req.Labels); err != nil {
		return err
	}
	if req.Labels == nil {
		req.Labels = map[string]string{}
	}
	return done(w, s.store.SetAgentLabels(r.Context(), p.Actor, r.PathValue("id"), req.Labels, ingest.Text(req.Reason, 1000)))
}

// fleetState is what an agent's own numbers are compared with.
type fleetState struct {
	epoch    int64
	policies store.PolicySet
}

func (s *Server) fleetState(ctx context.Context) (fleetState, error) {
	snap, err := s.store.LatestSnapshot(ctx)
	if err != nil {
		return fleetState{}, err
	}
	set, err := s.store.Policies(ctx)
	return fleetState{epoch: snap.Epoch, policies: set}, err
}

// policyOf names the policy that counts for an agent, "" for none.
func (f fleetState) policyOf(labels map[string]string) string {
	p := f.policies.For(labels)
	if p == nil {
		return ""
	}
	return p.Name + " version " + strconv.FormatInt(p.Version, 10)
}
