package index_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/fingerprint/index"
	"weightwarden/formats"
)

// TestDisguisedAmongMany: of more models than are all compared by their invariants, the right one is found
// by its layer vectors whatever hides it, and none is for a stranger.
func TestDisguisedAmongMany(t *testing.T) {
	const models = 40
	net := func(seed uint64) []ft.Matrix { return ft.Related(ft.Net(seed, 4, 96), seed) }
	db := index.New()
	for i := range uint64(models) {
		add(t, db, fmt.Sprintf("model-%d", i), "1", "protected", file(t, net(i), formats.F32, true))
	}
	path := filepath.Join(t.TempDir(), "r.fpdb")
	if err := db.Save(path); err != nil {
		t.Fatal(err)
	}
	db, err := index.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, c := range []struct {
		name  string
		net   []ft.Matrix
		dtype formats.DType
		want  string
	}{
		{"disguised", ft.Disguise(net(7), 1), formats.F32, "model-7"},
		{"disguised q8", ft.Disguise(net(39), 2), formats.Q8_0, "model-39"},
		{"disguised q4", ft.Disguise(net(0), 3), formats.Q4_0, "model-0"},
		{"negated and disguised q8", ft.Disguise(ft.Negate(net(21)), 4), formats.Q8_0, "model-21"},
		{"noisy and disguised", ft.Disguise(ft.Noise(net(21), 8, .1), 5), formats.F32, "model-21"},
		{"layers dropped and disguised", ft.Disguise(net(13), 6)[7:], formats.F32, "model-13"},
		{"stranger", ft.Disguise(net(1000), 7), formats.F32, ""},
	} {
		src, m := ft.File("header", c.net, c.dtype)
		fp, err := fingerprint.Compute(t.Context(), src, m, fingerprint.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := db.MatchFile(t.Context(), fp, m, fingerprint.Options{})
		if err != nil {
			t.Fatal(err)
		}
		found := ""
		if len(got) > 0 {
			found = got[0].Model
		}
		if found != c.want || len(got) > 1 {
			t.Errorf("%s: found %q (%d), want %q", c.name, found, len(got), c.want)
		}
	}
}

// TestRegistryWithoutVectors: one made before there were layer vectors is read, and compares all it has.
func TestRegistryWithoutVectors(t *testing.T) {
	db, err := index.Open("testdata/without-vectors.fpdb")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Verify(); err != nil {
		t.Fatal(err)
	}
	src, m := ft.File("header", ft.Disguise(ft.Related(ft.Net(5, 4, 64), 5), 1), formats.F32)
	fp, err := fingerprint.Compute(t.Context(), src, m, fingerprint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := db.MatchFile(t.Context(), fp, m, fingerprint.Options{})
	if err != nil || len(got) != 1 || got[0].Model != "net" {
		t.Errorf("found %+v, %v", got, err)
	}
}
