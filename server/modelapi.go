package server

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/zeebo/blake3"

	"weightwarden/fingerprint"
	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/store"
)

// checkName is for models and versions: they stand in URLs, file names and lines of
// logs.
func checkName(what, name string) error {
	if ok, err := regexp.MatchString(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$`, name); err != nil || !ok {
		return refuse(http.StatusUnprocessableEntity, "%s %.140q: want a letter or digit, then up to 127 of letters, digits and . _ + -", what, name)
	}
	return nil
}

func (s *Server) listModels(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	models, err := s.store.Models(r.Context(), r.URL.Query().Get("after"), limit+1)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(models, limit, func(m api.Model) string { return m.Name }, func(m api.Model) api.Model { return m }))
}

func (s *Server) getModel(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	m, err := s.store.Model(r.Context(), r.PathValue("model"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, m)
}

func (s *Server) putModel(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var d api.ModelDescription
	if err := readJSON(r, &d, strict); err != nil {
		return err
	}
	name := r.PathValue("model")
	if err := checkName("model", name); err != nil {
		return err
	}
	if !slices.Contains([]string{api.KindProtected, api.KindPublic, api.KindDataset}, d.Kind) {
		return refuse(http.StatusUnprocessableEntity, "kind %.40q: want protected, public or dataset", d.Kind)
	}
	if d.Tier < 0 || d.Tier > 4 || len(d.Owner) > 200 || len(d.Note) > 10000 {
		return refuse(http.StatusUnprocessableEntity, "want tier 0 to 4, an owner of at most 200 and a note of at most 10000 bytes")
	}
	if d.Owner == "" && len(p.Owners) == 1 {
		d.Owner = p.Owners[0]
	}
	if !p.MayOwn(d.Owner) {
		return refuse(http.StatusForbidden, "this token is for models %s only; say by owner whose this one is", scopeText(p))
	}
	err := s.store.PutModel(r.Context(), p.Actor, api.Model{Name: name, Kind: d.Kind, Owner: d.Owner, Tier: d.Tier, Regulated: d.Regulated, Note: d.Note}, p.Owners...)
	if err != nil {
		return err
	}
	return s.getModel(w, r, p)
}

func (s *Server) deleteModel(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	name := r.PathValue("model")
	if err := s.store.DeleteModel(r.Context(), p.Actor, name); err != nil {
		return err
	}
	_, err := s.publisher.Publish(r.Context(), "removed "+name)
	return done(w, err)
}

func (s *Server) addArtifact(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.NewArtifact
	if err := readJSON(r, &req, strict); err != nil {
		return err
	}
	model, version := r.PathValue("model"), r.PathValue("version")
	if err := checkName("version", version); err != nil {
		return err
	}
	fp, err := fingerprint.Decode(req.Fingerprint)
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "fingerprint: %v", err)
	}
	if !fp.Registered {
		return refuse(http.StatusUnprocessableEntity, "the fingerprint was made for a look, not for a registry: make it with fpctl model add")
	}
	if req.Name == "" || len(req.Name) > 1024 || len(req.Source) > 2048 {
		return refuse(http.StatusUnprocessableEntity, "want a name of 1 to 1024 bytes and a source of at most 2048")
	}
	if ok, err := regexp.MatchString(`^([0-9a-f]{64})?$`, req.BLAKE3); err != nil || !ok {
		return refuse(http.StatusUnprocessableEntity, "blake3 %.80q: want 64 hex digits in lower case", req.BLAKE3)
	}
	later := r.URL.Query().Get("publish")
	if later != "" && later != "later" {
		return refuse(http.StatusBadRequest, "publish %.40q: want later, or nothing for at once", later)
	}
	sum := blake3.Sum256(req.Fingerprint)
	a := store.ArtifactFingerprint{Artifact: api.Artifact{Name: req.Name, Format: fp.Format, Size: fp.Size, Tensors: len(fp.Tensors),
		Parameters: fp.Parameters(), BLAKE3: req.BLAKE3}, Model: model, Version: version, Fingerprint: req.Fingerprint}
	if c := fp.Content(); !c.IsZero() {
		a.Content = c.String()
	}
	id, added, err := s.store.AddArtifact(r.Context(), p.Actor, a, hex.EncodeToString(sum[:]), req.Source)
	if err != nil {
		return err
	}
	answer := api.ArtifactAnswer{ID: id, Added: added}
	status := http.StatusOK
	if added {
		status = http.StatusCreated
	}
	if later == "" || !added {
		snap, err := s.published(r.Context(), fmt.Sprintf("added %s %s", model, version))
		if err != nil {
			return err
		}
		answer.Snapshot = snap.Epoch
	}
	return writeJSON(w, status, answer)
}

// published returns a snapshot that has everything registered before the call: the
// newest, or a new one.
func (s *Server) published(ctx context.Context, reason string) (store.Snapshot, error) {
	revision, _, err := s.store.RegistryRevision(ctx)
	if err != nil {
		return store.Snapshot{}, err
	}
	if snap, err := s.store.LatestSnapshot(ctx); err != nil || snap.Revision >= revision {
		return snap, err
	}
	return s.publisher.Publish(ctx, reason)
}

func snapshotInfo(x store.Snapshot) api.SnapshotInfo {
	return api.SnapshotInfo{Epoch: x.Epoch, Created: x.Created, Expires: x.Expires, Entries: x.Entries, BLAKE3: x.Digest, Bytes: x.Bytes, Reason: x.Reason}
}

func (s *Server) listSnapshots(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	list, err := s.store.Snapshots(r.Context(), limit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, page(list, limit, nil, snapshotInfo))
}

func (s *Server) publish(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	snap, err := s.publisher.Publish(r.Context(), "asked for by "+p.Name)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, snapshotInfo(snap))
}
