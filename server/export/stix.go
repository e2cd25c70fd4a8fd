package export

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
	"weightwarden/server/cases"
)

// Evidence is what a STIX bundle is made of: the hits of a case or of an alert.
type Evidence struct {
	ID         string // of the case or alert
	Title      string
	Summary    string
	TLP        string // "RED", "AMBER+STRICT", "AMBER", "GREEN", "CLEAR"
	Hits       []cases.Hit
	Techniques []cases.Technique
	Created    time.Time
	Modified   time.Time
	Incident   bool // it is a case: an incident and a report stand over the rest
}

// stixObject is one object; the standard's property names are its keys.
type stixObject map[string]any

// Namespaces of deterministic ids: that of the standard for cyber observables
// (STIX 2.1, section 2.9), and our own for what we describe.
const (
	observableSpace = "00abedb4-aa42-466c-9c01-fed23315a9b7"
	ownSpace        = "7a0c3f5e-9a53-5b53-8f53-5e1f0a9d5353"
)

const (
	stixVersion = "2.1"
	tlpVersion2 = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d" // TLP 2.0, by OASIS
)

// tlpMarkings are the ids that OASIS gave to the levels of TLP 2.0.
func tlpMarkings() map[string]string {
	return map[string]string{"CLEAR": "94868c89-83c2-464b-929b-a1a8aa3c8487", "GREEN": "bab4a63c-aed9-4cf5-a766-dfca5abac2bb",
		"AMBER": "55d920b0-5e8b-4f79-9ee9-91f868d9b421", "AMBER+STRICT": "939a9414-2ddd-4d32-a0cd-375ea402b003", "RED": "e828b379-4e03-4974-9ac4-e53a884c97c1"}
}

// stixBundle collects objects, each once, with who made them and how far they may go.
type stixBundle struct {
	e       *Evidence
	objects []stixObject
	seen    map[string]bool
	maker   string
	marking string
	when    string
}

// STIX writes evidence as a STIX 2.1 bundle: files with their digests, users, hosts,
// processes and addresses as observables, indicators for what other tools can match,
// sightings, the techniques, and for a case an incident with its report. Ids are
// made of what they stand for, so the same evidence gives the same bundle.
// https://docs.oasis-open.org/cti/stix/v2.1/stix-v2.1.html
func STIX(e *Evidence) ([]byte, error) {
	b := &stixBundle{e: e, seen: map[string]bool{}, when: stixTime(e.Created)}
	b.maker = ownID("identity", "weightwarden")
	b.marking = "marking-definition--" + tlpMarkings()[e.TLP]
	if _, ok := tlpMarkings()[e.TLP]; !ok {
		return nil, fmt.Errorf("TLP %.40q: there is none", e.TLP)
	}
	b.add(stixObject{"type": "identity", "id": b.maker, "spec_version": stixVersion, "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z",
		"name": "weightwarden", "identity_class": "system"})
	b.add(stixObject{"type": "marking-definition", "id": b.marking, "spec_version": stixVersion, "created": "2022-10-01T00:00:00.000Z", "name": "TLP:" + e.TLP,
		"extensions": map[string]any{tlpVersion2: map[string]any{"extension_type": "property-extension", "tlp_2_0": strings.ToLower(e.TLP)}}})
	b.fingerprintExtension()
	var refs []string
	for _, h := range e.Hits {
		if h.Body != nil {
			refs = append(refs, b.hit(h)...)
		}
	}
	for _, t := range e.Techniques {
		refs = append(refs, b.technique(t))
	}
	b.incident(refs)
	return json.MarshalIndent(stixObject{"type": "bundle", "id": ownID("bundle", e.ID+stixTime(e.Modified)), "objects": b.objects}, "", "  ")
}

func ownID(kind, of string) string {
	return kind + "--" + uuid.NewSHA1(uuid.MustParse(ownSpace), []byte(kind+"\x00"+of)).String()
}

func stixTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// plain is hostile text for a string property.
func plain(s string, n int) string { return limit(cli.PrintableLine(s), n) }

func (b *stixBundle) add(o stixObject) string {
	id := fmt.Sprint(o["id"])
	if !b.seen[id] {
		b.seen[id] = true
		b.objects = append(b.objects, o)
	}
	return id
}

// domain adds an object of our own making.
func (b *stixBundle) domain(kind, of string, o stixObject) string {
	o["type"], o["id"], o["spec_version"] = kind, ownID(kind, of), stixVersion
	o["created"], o["modified"] = b.when, stixTime(maxOf(b.e.Modified, b.e.Created))
	o["created_by_ref"], o["object_marking_refs"] = b.maker, []string{b.marking}
	return b.add(o)
}

func maxOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// observable adds a cyber observable; its id is made of the properties that the
// standard says contribute.
func (b *stixBundle) observable(kind string, contributing, more stixObject) string {
	key, err := json.Marshal(contributing) // keys are sorted, as RFC 8785 has them
	if err != nil {
		return "" // strings and numbers always marshal
	}
	o := stixObject{"type": kind, "id": kind + "--" + uuid.NewSHA1(uuid.MustParse(observableSpace), key).String(), "spec_version": stixVersion, "object_marking_refs": []string{b.marking}}
	for _, from := range []stixObject{contributing, more} {
		for k, v := range from {
			o[k] = v
		}
	}
	return b.add(o)
}

const fingerprintSchema = "https://weightwarden.example/stix/tensor-fingerprint.json"

// fingerprintExtension says what our properties of a file mean.
func (b *stixBundle) fingerprintExtension() {
	b.domain("extension-definition", "tensor-fingerprint", stixObject{"name": "Tensor fingerprint",
		"description": "What of a registered model was found in a file: the digest of its tensors' content, whatever the container, the verdict, and the share of the model.",
		"schema":      fingerprintSchema, "version": "1.0.0", "extension_types": []string{"property-extension"}})
}

// hit adds one hit and returns the ids that belong into the report.
func (b *stixBundle) hit(h cases.Hit) []string {
	file := b.file(h)
	seen := []string{file, b.host(h.Body)}
	if u := h.Body.User.Name; u != "" {
		seen = append(seen, b.observable("user-account", stixObject{"account_login": plain(u, 256)}, stixObject{}))
	}
	if p := h.Body.Process; p != nil {
		seen = append(seen, b.process(h.ID, p)...)
	}
	refs := b.indicators(h, seen)
	observables := slices.DeleteFunc(slices.Clone(seen), func(id string) bool { return strings.HasPrefix(id, "identity--") })
	refs = append(refs, b.domain("observed-data", h.ID, stixObject{"first_observed": stixTime(h.Body.ObservedAt), "last_observed": stixTime(h.Body.ObservedAt), "number_observed": 1,
		"object_refs": observables}))
	return append(refs, seen...)
}

func (b *stixBundle) file(h cases.Hit) string {
	v := &h.Body.Verdict
	key := stixObject{"name": plain(base(h.Path), 512)}
	hashes := stixObject{}
	fp := stixObject{"extension_type": "property-extension", "verdict": string(v.Verdict), "model": plain(v.Model, 256), "model_version": plain(v.ModelVersion, 256), "coverage_bytes": v.Coverage.Bytes}
	if d := v.Digests; d != nil {
		if isHex(d.SHA256, 64) {
			hashes["SHA-256"] = d.SHA256
		}
		if isHex(d.BLAKE3, 64) {
			hashes["BLAKE3"] = d.BLAKE3
		}
		if d.Content != "" {
			fp["content_digest"] = plain(d.Content, 256)
		}
	}
	if len(hashes) > 0 {
		key["hashes"] = hashes
	}
	more := stixObject{"extensions": stixObject{ownID("extension-definition", "tensor-fingerprint"): fp}}
	if v.Size >= 0 {
		more["size"] = v.Size
	}
	if dir := strings.TrimSuffix(h.Path, base(h.Path)); dir != "" {
		more["parent_directory_ref"] = b.observable("directory", stixObject{"path": plain(dir, 1024)}, stixObject{})
	}
	return b.observable("file", key, more)
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// host is the machine, as an identity: the standard has no observable for one.
func (b *stixBundle) host(h *api.Hit) string {
	name := plain(h.Host.Name, 256)
	if name == "" {
		name = "unknown host"
	}
	return b.domain("identity", "host\x00"+h.Host.Name, stixObject{"name": name, "identity_class": "system"})
}

func (b *stixBundle) process(hit string, p *api.Process) []string {
	var out []string
	o := stixObject{"pid": p.PID}
	if len(p.Args) > 0 {
		o["command_line"] = plain(strings.Join(p.Args, " "), 2000)
	}
	if p.Exe != "" {
		exe := b.observable("file", stixObject{"name": plain(base(p.Exe), 512)}, stixObject{})
		o["image_ref"], out = exe, append(out, exe)
	}
	if ap, err := netip.ParseAddrPort(p.Remote); err == nil {
		kind := "ipv4-addr"
		if ap.Addr().Is6() && !ap.Addr().Is4In6() {
			kind = "ipv6-addr"
		}
		out = append(out, b.observable(kind, stixObject{"value": ap.Addr().Unmap().String()}, stixObject{}))
	}
	// A process has no identity beyond its own hit (the standard asks for a random id).
	o["type"], o["id"], o["spec_version"], o["object_marking_refs"] = "process", ownID("process", hit), stixVersion, []string{b.marking}
	return append(out, b.add(o))
}

// indicators are patterns that other tools can match, with their sightings.
func (b *stixBundle) indicators(h cases.Hit, seen []string) []string {
	d := h.Body.Verdict.Digests
	if d == nil || !isHex(d.SHA256, 64) {
		return nil
	}
	id := b.domain("indicator", "sha256\x00"+d.SHA256, stixObject{"name": "Copy of " + plain(h.Body.Verdict.Model, 256), "indicator_types": []string{"compromised"},
		"pattern": "[file:hashes.'SHA-256' = '" + strings.ToLower(d.SHA256) + "']", "pattern_type": "stix", "valid_from": stixTime(h.Body.ObservedAt)})
	s := b.domain("sighting", h.ID, stixObject{"sighting_of_ref": id, "first_seen": stixTime(h.Body.ObservedAt), "last_seen": stixTime(h.Body.ObservedAt), "count": 1,
		"where_sighted_refs": []string{seen[1]}})
	return []string{id, s}
}

func (b *stixBundle) technique(t cases.Technique) string {
	source := "mitre-attack"
	if strings.HasPrefix(t.ID, "AML.") {
		source = "mitre-atlas"
	}
	return b.domain("attack-pattern", t.ID, stixObject{"name": t.Name, "description": t.Framework, "external_references": []stixObject{{"source_name": source, "external_id": t.ID}}})
}

func (b *stixBundle) incident(refs []string) {
	if !b.e.Incident {
		return
	}
	name := plain(b.e.Title, 512)
	if name == "" {
		name = "Case"
	}
	o := stixObject{"name": name}
	if b.e.Summary != "" {
		o["description"] = plain(b.e.Summary, 8000)
	}
	refs = append([]string{b.domain("incident", b.e.ID, o)}, refs...)
	slices.Sort(refs)
	b.domain("report", b.e.ID, stixObject{"name": "Incident report: " + name, "report_types": []string{"observed-data"}, "published": stixTime(maxOf(b.e.Modified, b.e.Created)),
		"object_refs": slices.Compact(refs)})
}
