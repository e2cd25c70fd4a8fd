package api

import (
	"regexp"
	"strings"
)

// MaxName bounds the names of models and versions, in bytes.
const MaxName = 128

// ModelName makes of any text what a server takes as the name of a model or version:
// letters, digits and . _ + -, beginning with a letter or digit. "" if nothing is left.
func ModelName(text string) string {
	text = regexp.MustCompile(`[^A-Za-z0-9._+-]+`).ReplaceAllString(text, "-")
	text = strings.TrimLeft(text, "._+-")
	return text[:min(len(text), MaxName)]
}
