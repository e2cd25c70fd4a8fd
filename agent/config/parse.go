package config

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const maxFile = 1 << 20

// Schema is the JSON schema (draft 2020-12) of the configuration file.
//
//go:embed schema.json
var Schema string

// Duration is a time.Duration written as "30s" or "10m".
type Duration time.Duration

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if n.Kind == yaml.ScalarNode && n.Value == "0" {
		v, err = 0, nil
	}
	if n.Kind != yaml.ScalarNode || err != nil || v < 0 {
		return fmt.Errorf("line %d: %.60q is no duration; write for example 30s or 10m", n.Line, n.Value)
	}
	*d = Duration(v)
	return nil
}

// MarshalYAML implements yaml.Marshaler.
func (d Duration) MarshalYAML() (any, error) { return time.Duration(d).String(), nil }

// Size is a number of bytes written as 1048576, "1MiB" or "200MB".
type Size int64

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *Size) UnmarshalYAML(n *yaml.Node) error {
	v, ok := parseSize(n.Value)
	if n.Kind != yaml.ScalarNode || !ok {
		return fmt.Errorf("line %d: %.60q is no size; write for example 1MiB or 200MB", n.Line, n.Value)
	}
	*s = Size(v)
	return nil
}

func parseSize(text string) (int64, bool) {
	text = strings.TrimSpace(text)
	digits := strings.TrimRight(text, "KMGTkiB ")
	unit := strings.TrimSpace(text[len(digits):])
	factor, ok := map[string]int64{"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}[unit]
	v, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || v < 0 || v > math.MaxInt64/factor {
		return 0, false
	}
	return v * factor, true
}

// Parse reads a configuration over the defaults and checks it.
func Parse(b []byte) (Config, error) {
	c := Default()
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return Config{}, err
	}
	if len(doc.Content) == 0 { // an empty file
		return c, nil
	}
	if err := knownKeys(doc.Content[0], reflect.TypeFor[Config](), ""); err != nil {
		return Config{}, err
	}
	if err := doc.Content[0].Decode(&c); err != nil {
		return Config{}, err
	}
	if err := c.Check(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// knownKeys refuses keys that the struct does not have. The nesting is bounded
// by that of the struct.
func knownKeys(n *yaml.Node, t reflect.Type, prefix string) error {
	if n.Kind == yaml.AliasNode || n.Kind != yaml.MappingNode {
		if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
			return nil
		}
		return fmt.Errorf("line %d: %s must be a mapping of keys", n.Line, orTop(prefix))
	}
	var errs []error
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if first, ok := seen[key.Value]; ok {
			errs = append(errs, fmt.Errorf("line %d: %s is given a second time (first on line %d)", key.Line, prefix+key.Value, first))
		}
		seen[key.Value] = key.Line
		field, known := fieldOf(t, key.Value)
		switch {
		case !known:
			errs = append(errs, unknown(key, t, prefix))
		case field.Kind() == reflect.Struct:
			errs = append(errs, knownKeys(value, field, prefix+key.Value+"."))
		}
	}
	return errors.Join(errs...)
}

func orTop(prefix string) string {
	if prefix == "" {
		return "the file"
	}
	return strings.TrimSuffix(prefix, ".")
}

func unknown(key *yaml.Node, t reflect.Type, prefix string) error {
	best, distance := "", 4
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("yaml")
		if d := editDistance(key.Value, name); d < distance {
			best, distance = name, d
		}
	}
	hint := ""
	if best != "" {
		hint = fmt.Sprintf("; did you mean %q?", prefix+best)
	}
	return fmt.Errorf("line %d: unknown key %.80q%s", key.Line, prefix+key.Value, hint)
}

func fieldOf(t reflect.Type, key string) (reflect.Type, bool) {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") == key {
			return t.Field(i).Type, true
		}
	}
	return nil, false
}

// editDistance is the Levenshtein distance, for short names.
func editDistance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

func readUpTo(r io.Reader, b []byte) (int, error) {
	n, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}
