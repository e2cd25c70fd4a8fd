package index

import (
	"fmt"

	"weightwarden/fingerprint"
)

// findOwn marks the protected models of which the suspect has tensors that none of
// the public models it matches has: a vision tower or a text encoder that everybody
// may use proves nothing, and hides nothing of what stands around it.
func (db *DB) findOwn(found []candidate, fp *fingerprint.Fingerprint) {
	for i := range found {
		p := &found[i]
		if p.match.Kind != "protected" || p.match.Relation == fingerprint.Identical {
			continue
		}
		common := make(map[int]bool) // tensors of p that a public model has
		for k := range found {
			if b := &found[k]; b.match.Kind == "public" {
				for _, t := range fingerprint.CompareInPlace(b.reg, p.reg).Tensors {
					common[t.Suspect] = true
				}
			}
		}
		if len(common) == 0 || len(common) == len(p.reg.Tensors) {
			continue
		}
		c := fingerprint.CompareInPlace(p.reg.Rest(common), fp)
		if c.Relation == fingerprint.NoMatch || c.Relation == fingerprint.Inconclusive || c.LogP+db.logTrials() > maxLogP {
			continue
		}
		p.own = true
		p.match.Evidence = append(p.match.Evidence, fingerprint.Evidence{Kind: "own", Value: c.Coverage.Parameters, Unit: "share", LogP: c.LogP + db.logTrials(), Bound: c.Bound,
			Text: fmt.Sprintf("of the %d tensors that no public model in this file has, %.0f%% of the parameters are here", len(p.reg.Tensors)-len(common), 100*c.Coverage.Parameters)})
	}
}
