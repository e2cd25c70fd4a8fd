package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"weightwarden/internal/api"
)

// What the server finds when it judges a hit once more, by the content digest that
// came with it, against the registry of this moment. An agent may hold an older
// snapshot, or be made to tell something else than it saw.
const (
	OpinionNone         = ""             // nothing to go by
	OpinionAgrees       = "agrees"       // the registry has this content under the model and version named
	OpinionOther        = "other"        // ... under other ones only
	OpinionMissed       = "missed"       // the agent saw no copy; the content is a registered one
	OpinionUnconfirmed  = "unconfirmed"  // said to be the same tensors, but the registry has no such content
	OpinionUnregistered = "unregistered" // the registry has no such model
)

type opinion struct {
	word, text string
	tier       int
	// What was missed; the zero Verdict unless word is OpinionMissed.
	model, version, kind string
}

// maxSame bounds how many registered artifacts with one content are looked at.
const maxSame = 200

// secondOpinion judges a verdict by the registry.
func (t *Tx) secondOpinion(ctx context.Context, v *api.Verdict) (opinion, error) {
	var o opinion
	if v.Verdict.IsHit() {
		err := t.queryRow(ctx, "SELECT tier FROM model WHERE name = ?", v.Model).Scan(&o.tier)
		if err == sql.ErrNoRows {
			o.word, o.text = OpinionUnregistered, "the registry has no model of this name"
		} else if err != nil {
			return o, err
		}
	}
	if v.Digests == nil || v.Digests.Content == "" {
		return o, nil
	}
	same, err := t.sameContent(ctx, v.Digests.Content)
	if err != nil {
		return o, err
	}
	return o.byContent(v, same), nil
}

type registered struct {
	model, version, kind string
	tier                 int
}

func (t *Tx) sameContent(ctx context.Context, content string) ([]registered, error) {
	rows, err := t.query(ctx, `SELECT a.model, a.version, m.kind, m.tier FROM artifact a JOIN model m ON m.name = a.model WHERE a.content = ? AND a.content <> ''
		ORDER BY CASE WHEN m.kind = 'public' THEN 1 ELSE 0 END, a.id LIMIT ?`, content, maxSame)
	return collect(rows, err, func(r *sql.Rows) (registered, error) {
		var x registered
		err := r.Scan(&x.model, &x.version, &x.kind, &x.tier)
		return x, err
	})
}

// byContent compares a verdict with what the registry has under the same content,
// models that are not public first.
func (o opinion) byContent(v *api.Verdict, same []registered) opinion {
	if len(same) == 0 {
		if o.word == OpinionNone && (v.Verdict == api.Identical || v.Verdict == api.Repackaged) {
			o.word, o.text = OpinionUnconfirmed, "no registered file has this content digest"
		}
		return o
	}
	var names []string
	for _, x := range same {
		if x.model == v.Model && x.version == v.ModelVersion {
			o.word, o.text = OpinionAgrees, ""
			return o
		}
		names = append(names, x.model+" "+x.version)
	}
	first := same[0]
	switch {
	case v.Verdict.IsHit():
		o.word, o.text = OpinionOther, cut("the content digest is that of "+strings.Join(names, ", "), 1000)
	case first.kind != api.KindPublic:
		o = opinion{word: OpinionMissed, tier: first.tier, model: first.model, version: first.version, kind: first.kind}
		o.text = cut(fmt.Sprintf("the agent said %s; the content digest is that of %s", v.Verdict, strings.Join(names, ", ")), 1000)
	}
	return o
}

// apply returns the hit as the server sees it: with what the agent missed. The
// stored body keeps the agent's words.
func (o opinion) apply(h *api.Hit) *api.Hit {
	if o.word != OpinionMissed {
		return h
	}
	seen := *h
	v := &seen.Verdict
	v.Verdict, v.Model, v.ModelVersion, v.Kind = api.Repackaged, o.model, o.version, o.kind
	v.Coverage = api.Coverage{Bytes: 1, Tensors: 1, Parameters: 1}
	return &seen
}
