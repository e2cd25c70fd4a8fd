package techniques

import (
	"path"
	"slices"
	"strings"

	"weightwarden/internal/api"
)

// Facts are what of a hit, or of the hits of an alert, stands for a technique.
type Facts struct {
	Verdict     api.Word
	Kind        string // of the model: api.KindProtected, ...
	Destination string // class
	Event       string
	Path        string // of the copy
	Process     string // program or its name
	Remote      bool   // the process held a connection to elsewhere
	Hits        int64  // that are grouped
}

// OfHit takes the facts from a hit.
func OfHit(h *api.Hit) Facts {
	f := Facts{Verdict: h.Verdict.Verdict, Kind: h.Verdict.Kind, Destination: h.Destination.Class, Event: h.Event, Path: h.Verdict.Path, Hits: 1}
	if h.Process != nil {
		f.Process, f.Remote = h.Process.Exe, h.Process.Remote != ""
		if f.Process == "" {
			f.Process = h.Process.Name
		}
	}
	return f
}

// manyHits is from how many files in one day by one person to one place on the
// copying counts as automated.
const manyHits = 20

// For names the techniques that the facts stand for, ATLAS first; none for what is
// no copy of something protected.
func For(f Facts) []Technique {
	if !f.Verdict.IsHit() || f.Kind == api.KindPublic {
		return nil
	}
	var out []Technique
	add := func(id, why string) {
		t, ok := Find(id)
		if ok && !slices.ContainsFunc(out, func(o Technique) bool { return o.ID == id }) {
			t.Why = why
			out = append(out, t)
		}
	}
	add("AML.T0035", "a registered model was copied")
	byDestination(f, add)
	byProgram(f, add)
	byShape(f, add)
	slices.SortStableFunc(out, func(a, b Technique) int { return strings.Compare(a.Framework, b.Framework) })
	return out
}

func byDestination(f Facts, add func(id, why string)) {
	const away = "the copy lies outside of the machine"
	switch f.Destination {
	case "removable", "cloud_sync", "fuse_remote", "git_remote":
		add("AML.T0025", away)
		add("AML.T0048.004", away)
	case "network":
		add("AML.T0025", away)
	}
	switch f.Destination {
	case "fixed", "ram", "container", "image":
		add("AML.T0037", "the copy was made on the machine that held the model")
		add("T1005", "the copy was made on the machine that held the model")
		add("T1074.001", "the copy lies on the same machine")
	case "removable":
		add("T1052.001", "the copy lies on a removable medium")
	case "network":
		add("T1074.002", "the copy lies on a network share")
	case "cloud_sync":
		add("T1567.002", "the copy lies in a folder that is sent to a cloud storage")
	case "fuse_remote":
		add("T1048", "the copy lies on a file system of another machine")
	case "git_remote":
		add("T1567.001", "the copy lies in a repository with a remote")
	case "download":
		add("AML.T0036", "the copy was downloaded")
		add("T1213", "the copy was downloaded")
	}
}

func byProgram(f Facts, add func(id, why string)) {
	name := strings.TrimSuffix(path.Base(strings.ReplaceAll(f.Process, `\`, "/")), ".exe")
	packed := f.Event == "archive" || f.Destination == "archive"
	switch name {
	case "tar", "zip", "7z", "7za", "7zz", "rar", "gzip", "xz", "zstd", "bzip2", "cpio":
		add("T1560.001", "written by "+name)
	default:
		if packed && strings.HasPrefix(name, "python") {
			add("T1560.002", "an archive written by "+cut(name))
		} else if packed {
			add("T1560.001", "the copy lies in an archive")
		}
	}
	switch name {
	case "rclone", "aws", "gsutil", "gcloud", "azcopy", "s5cmd", "mc", "b2":
		add("T1567.002", "written or read by "+name)
	case "scp", "sftp", "rsync", "ssh", "ftp", "lftp", "nc", "ncat", "socat":
		add("T1048", "written or read by "+name)
	default:
		if f.Remote {
			add("T1048", "the process held a connection to another machine")
		}
	}
}

func byShape(f Facts, add func(id, why string)) {
	switch f.Verdict {
	case api.Cast, api.Quantised, api.Merged, api.Reparameterised:
		add("T1027", "the weights were changed, so that digests do not match")
	case api.Partial:
		add("T1030", "only a part of the model is in the file")
	}
	if ext := disguise(f.Path); ext != "" {
		add("T1036.008", "weights in a file that is named "+ext)
	}
	if f.Hits >= manyHits {
		add("T1119", "many files by one person to one place within a day")
	}
}

// disguise returns the ending of a name that promises something other than data, or "".
func disguise(p string) string {
	ext := strings.ToLower(path.Ext(strings.ReplaceAll(p, `\`, "/")))
	switch ext {
	case ".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".mp3", ".mp4", ".mkv", ".mov", ".avi", ".wav", ".pdf", ".doc", ".docx", ".xls", ".xlsx",
		".ppt", ".pptx", ".txt", ".log", ".html", ".css", ".js", ".iso", ".exe", ".dll", ".so":
		return ext
	}
	return ""
}

func cut(s string) string { return s[:min(len(s), 40)] }
