// Package techniques names what was seen in the words of MITRE: techniques of
// ATLAS (attacks on AI systems) and of ATT&CK (attacks on enterprises), each with
// the version of the framework that the id is from, since names and places of
// techniques change between versions.
//
// A technique is named only where a fact of the hit stands for it; Why says which.
// Sources: mitre-atlas/atlas-data 5.6, attack.mitre.org for Enterprise v19.
package techniques

import (
	"slices"
	"strings"
)

// The frameworks, with the versions that the ids are from.
const (
	ATLAS         = "ATLAS"
	ATTACK        = "ATT&CK"
	ATLASVersion  = "5.6"
	ATTACKVersion = "19"
)

// Technique is one technique of one framework.
type Technique struct {
	ID        string `json:"id"`        // "AML.T0035", "T1052.001"
	Name      string `json:"name"`      // in the words of the framework
	Framework string `json:"framework"` // ATLAS or ATTACK
	Version   string `json:"version"`   // of the framework
	Why       string `json:"why,omitempty"`
}

// URL is the page of the technique.
func (t Technique) URL() string {
	if t.Framework == ATLAS {
		return "https://atlas.mitre.org/techniques/" + t.ID
	}
	id, sub := t.ID, ""
	if len(id) > 6 && id[5] == '.' {
		id, sub = id[:5], "/"+id[6:]
	}
	return "https://attack.mitre.org/techniques/" + id + sub
}

// ParentID is the id without the part that names a sub-technique.
func (t Technique) ParentID() string {
	head, rest, atlas := strings.Cut(t.ID, ".T") // "AML.T0048.004"
	if !atlas {
		id, _, _ := strings.Cut(t.ID, ".")
		return id
	}
	number, _, _ := strings.Cut(rest, ".")
	return head + ".T" + number
}

// Parent splits the name of a sub-technique into those of the technique ("" where
// the framework's name does not say it) and of the sub-technique; sub is "" for what
// is no sub-technique.
func (t Technique) Parent() (technique, sub string) {
	if t.ParentID() == t.ID {
		return t.Name, ""
	}
	technique, sub, ok := strings.Cut(t.Name, ": ")
	if !ok {
		return "", t.Name
	}
	return technique, sub
}

func atlas(id, name string) Technique  { return Technique{"AML." + id, name, ATLAS, ATLASVersion, ""} }
func attack(id, name string) Technique { return Technique{id, name, ATTACK, ATTACKVersion, ""} }

// All returns every technique that hits and cases may name, by framework and id.
func All() []Technique {
	return []Technique{
		atlas("T0005.001", "Train Proxy via Replication"),
		atlas("T0024", "Exfiltration via AI Inference API"),
		atlas("T0024.000", "Infer Training Data Membership"),
		atlas("T0024.001", "Invert AI Model"),
		atlas("T0024.002", "Extract AI Model"),
		atlas("T0025", "Exfiltration via Cyber Means"),
		atlas("T0035", "AI Artifact Collection"),
		atlas("T0036", "Data from Information Repositories"),
		atlas("T0037", "Data from Local System"),
		atlas("T0040", "AI Model Inference API Access"),
		atlas("T0044", "Full AI Model Access"),
		atlas("T0048.004", "External Harms: AI Intellectual Property Theft"),
		atlas("T0063", "Discover AI Model Outputs"),
		attack("T1005", "Data from Local System"),
		attack("T1020", "Automated Exfiltration"),
		attack("T1027", "Obfuscated Files or Information"),
		attack("T1030", "Data Transfer Size Limits"),
		attack("T1036.008", "Masquerading: Masquerade File Type"),
		attack("T1039", "Data from Network Shared Drive"),
		attack("T1041", "Exfiltration Over C2 Channel"),
		attack("T1048", "Exfiltration Over Alternative Protocol"),
		attack("T1052.001", "Exfiltration Over Physical Medium: Exfiltration over USB"),
		attack("T1074.001", "Data Staged: Local Data Staging"),
		attack("T1074.002", "Data Staged: Remote Data Staging"),
		attack("T1119", "Automated Collection"),
		attack("T1213", "Data from Information Repositories"),
		attack("T1530", "Data from Cloud Storage"),
		attack("T1560.001", "Archive Collected Data: Archive via Utility"),
		attack("T1560.002", "Archive Collected Data: Archive via Library"),
		attack("T1567.001", "Exfiltration Over Web Service: Exfiltration to Code Repository"),
		attack("T1567.002", "Exfiltration Over Web Service: Exfiltration to Cloud Storage"),
	}
}

// Find returns the technique with an id, for playbooks that name ids.
func Find(id string) (Technique, bool) {
	all := All()
	i := slices.IndexFunc(all, func(t Technique) bool { return t.ID == id })
	if i < 0 {
		return Technique{}, false
	}
	return all[i], true
}
