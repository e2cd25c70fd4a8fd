package jsonstream

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"weightwarden/formats"
)

func reader(s string) *Reader { return New(strings.NewReader(s), 0, int64(len(s))) }

func TestStringAgreesWithEncodingJSON(t *testing.T) {
	for _, in := range []string{`""`, `"abc"`, `"a\"b\\c\/d\b\f\n\r\t"`, `"\u00e9\u4e2d\ud83d\ude00"`, `"é中😀"`,
		`"` + strings.Repeat("x", 3*window) + `\n"`} {
		var want string
		if err := json.Unmarshal([]byte(in), &want); err != nil {
			t.Fatal(err)
		}
		r := reader(in)
		got, cut, err := r.String(nil, 1<<20)
		if err != nil || cut || string(got) != want || r.BadText != 0 {
			t.Errorf("%.50s: got %.50q, cut %v, bad %d, error %v", in, got, cut, r.BadText, err)
		}
	}
}

func TestStringOddities(t *testing.T) {
	for in, want := range map[string]string{`"\ud800"`: "\ufffd", `"\ud800x"`: "\ufffdx", "\"a\nb\"": "a\nb", "\"\xff\"": "\xff"} {
		r := reader(in)
		got, _, err := r.String(nil, 100)
		if err != nil || string(got) != want || r.BadText != 1 {
			t.Errorf("%q: got %q, bad %d, error %v", in, got, r.BadText, err)
		}
	}
	if got, cut, err := reader(`"abc\u00e9def"`).String(nil, 4); string(got) != "abc" || !cut || err != nil {
		t.Errorf("cut string: %q, %v, %v", got, cut, err)
	}
}

func TestInt(t *testing.T) {
	for in, want := range map[string]int64{"0,": 0, " 12]": 12, "-7}": -7, "9223372036854775807 ": 1<<63 - 1} {
		if got, err := reader(in).Int(); got != want || err != nil {
			t.Errorf("%q = %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"x", "-", "1.5,", "1e3,", "9223372036854775808,", strings.Repeat("0", 30) + ",", ""} {
		if _, err := reader(in).Int(); err == nil {
			t.Errorf("%q is a number", in)
		}
	}
}

func TestSkip(t *testing.T) {
	for _, in := range []string{`1 `, `null,`, `"a"`, `[]`, `{"a":[1,{"b":null}],"c":"}"}`, `[[[]]]`} {
		r := reader(in + "#")
		if err := r.Skip(3); err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if c, _ := r.Peek(); c != '#' && c != ',' {
			t.Errorf("%s: left at %q", in, c)
		}
	}
	if err := reader(strings.Repeat("[", 100)).Skip(32); !errors.Is(err, formats.ErrLimit) {
		t.Errorf("deep nesting: %v", err)
	}
	for _, in := range []string{"", "}", ",", `{"a"`, "[1", "#"} {
		if err := reader(in).Skip(9); err == nil {
			t.Errorf("%q was skipped", in)
		}
	}
}

func TestObjectShowsDuplicateKeys(t *testing.T) {
	var keys []string
	r := reader(` {"a":1, "b":[1,2],"a":{}} `)
	err := r.Object(10, func(key []byte, _ bool) error {
		keys = append(keys, string(key))
		return r.Skip(4)
	})
	if err != nil || strings.Join(keys, "") != "aba" {
		t.Errorf("keys %v, error %v", keys, err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(`{"a":[1,2,{"b":"c\u00e9"}],"d":-5}`)
	f.Fuzz(func(t *testing.T, s string) {
		r := reader(s)
		err := r.Object(8, func([]byte, bool) error { return r.Skip(8) })
		if json.Valid([]byte(s)) && strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "{") &&
			err != nil && !errors.Is(err, formats.ErrLimit) {
			t.Errorf("valid JSON %q: %v", s, err)
		}
	})
}
