package server

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/ingest"
	"weightwarden/server/store"
)

func (s *Server) enrol(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	var req api.EnrollRequest
	if err := readJSON(r, &req, lenient); err != nil {
		return err
	}
	remote := remoteOf(r)
	tok, err := api.ParseEnrolToken(req.Token)
	if err != nil {
		if wait := s.limits.Try(remote); wait > 0 {
			return tooManyTokens(wait)
		}
		return refuse(http.StatusBadRequest, "%v", err)
	}
	id := store.NewID()
	chain, cert, err := s.ca.IssueAgent(req.CSR, id, s.now())
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	a := store.Agent{ID: id, Host: ingest.Text(req.Host.Name, 255), OS: ingest.Text(req.Host.OS, 64), Arch: ingest.Text(req.Host.Arch, 64), MachineID: ingest.Text(req.Host.Machine, ingest.MaxMachine),
		Version: ingest.Text(req.Version, 64), CertSerial: cert.SerialNumber.Text(16), CertExpires: cert.NotAfter}
	_, err = s.store.Enrol(r.Context(), tok.Secret, a, remote)
	if errors.Is(err, store.ErrNotFound) {
		if wait := s.limits.Try(remote); wait > 0 {
			return tooManyTokens(wait)
		}
		s.metrics.authFailed("enrol")
		return &problem{status: http.StatusForbidden, detail: "the enrolment token is unknown, used up or expired", hint: "fpctl token new --enrol makes one"}
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.enrolAnswer(id, chain, cert.NotAfter))
}

func (s *Server) enrolAnswer(id string, chain []byte, notAfter time.Time) api.EnrollAnswer {
	return api.EnrollAnswer{AgentID: id, Certificate: string(chain), CA: string(s.ca.PEM), SnapshotKey: s.verifier, NotAfter: notAfter}
}

func (s *Server) renew(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var req api.RenewRequest
	if err := readJSON(r, &req, lenient); err != nil {
		return err
	}
	chain, cert, err := s.ca.IssueAgent(req.CSR, p.ID, s.now())
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	if err := s.store.RenewAgent(r.Context(), p.ID, cert.SerialNumber.Text(16), cert.NotAfter); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.enrolAnswer(p.ID, chain, cert.NotAfter))
}

// takeHits answers once the hits are on disk. What can never be stored is refused
// one by one, so that one bad hit does not hold up the rest.
func (s *Server) takeHits(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var batch api.HitBatch
	if err := readJSON(r, &batch, lenient); err != nil {
		return err
	}
	if len(batch.Hits) > ingest.MaxBatch {
		return refuse(http.StatusRequestEntityTooLarge, "%d hits, at most %d at once", len(batch.Hits), ingest.MaxBatch)
	}
	var answer api.HitAnswer
	var good []api.Hit
	for i := range batch.Hits {
		h := &batch.Hits[i]
		answer.Acknowledged = max(answer.Acknowledged, h.Seq)
		ingest.Clean(h)
		if r.ContentLength < 0 || r.ContentLength > ingest.MaxPlain {
			ingest.Shorten(h)
		}
		if err := ingest.Check(p.ID, h); err != nil {
			answer.Rejected = append(answer.Rejected, api.Rejected{Seq: h.Seq, Reason: err.Error()})
			s.metrics.hitRejected()
			continue
		}
		good = append(good, *h)
	}
	if len(good) > 0 {
		added, err := s.store.AddHits(r.Context(), p.ID, good, ingest.Severity)
		if err != nil {
			// Whatever the database's trouble is: the agent keeps the hits and comes again.
			s.log.Error("store hits", "agent", p.ID, "error", err)
			return &problem{status: http.StatusServiceUnavailable, detail: "the hits could not be stored now", retryAfter: 5}
		}
		s.metrics.hitsStored(good, added)
	}
	return writeJSON(w, http.StatusOK, answer)
}

func (s *Server) heartbeat(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	var hb api.Heartbeat
	if err := readJSON(r, &hb, lenient); err != nil {
		return err
	}
	ingest.CleanHeartbeat(&hb)
	if err := s.store.Heartbeat(r.Context(), p.ID, &hb); err != nil {
		return err
	}
	snap, err := s.store.LatestSnapshot(r.Context())
	if err != nil {
		return err
	}
	sweeps, err := s.store.OrderSweeps(r.Context(), p.ID, &hb)
	if err != nil {
		return err
	}
	policies, err := s.store.PolicyRevision(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, api.HeartbeatAnswer{Snapshot: snap.Epoch, Policy: policies, Now: s.now().UTC(), Sweeps: sweeps})
}

func (s *Server) manifest(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	snap, err := s.store.LatestSnapshot(r.Context())
	if err != nil {
		return err
	}
	tag := fmt.Sprintf(`"%d-%d"`, snap.Epoch, snap.Created.UnixMicro())
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(snap.Manifest) // the client may be gone
	return nil
}

func (s *Server) blob(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	return s.sendBlob(w, r, r.PathValue("digest"))
}

func (s *Server) latestBlob(w http.ResponseWriter, r *http.Request, _ *auth.Principal) error {
	snap, err := s.store.LatestSnapshot(r.Context())
	if err != nil {
		return err
	}
	return s.sendBlob(w, r, snap.Digest)
}

func (s *Server) sendBlob(w http.ResponseWriter, r *http.Request, digest string) error {
	size, err := s.store.BlobSize(r.Context(), digest)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable") // its name is its digest
	for part := int64(0); ; part++ {
		b, err := s.store.BlobPart(r.Context(), digest, part)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return nil
		}
		if _, err := w.Write(b); err != nil {
			return nil // the client is gone
		}
	}
}
