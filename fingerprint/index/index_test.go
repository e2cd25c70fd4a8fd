package index_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/fingerprint/index"
	"weightwarden/formats"
)

func file(t testing.TB, ms []ft.Matrix, d formats.DType, register bool) *fingerprint.Fingerprint {
	t.Helper()
	src, m := ft.File("header", ms, d)
	fp, err := fingerprint.Compute(context.Background(), src, m, fingerprint.Options{Register: register})
	if err != nil {
		t.Fatal(err)
	}
	return fp
}

func add(t testing.TB, db *index.DB, model, version, kind string, fp *fingerprint.Fingerprint) {
	t.Helper()
	if err := db.Add(index.Entry{Model: model, Version: version, Kind: kind, Artifact: model + ".bin", Fingerprint: fp}); err != nil {
		t.Fatal(err)
	}
}

func match(t testing.TB, db *index.DB, fp *fingerprint.Fingerprint) []fingerprint.Match {
	t.Helper()
	m, err := db.Match(context.Background(), fp)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestManyModels registers more models than are compared by brute force, so that
// candidates come out of the tables.
func TestManyModels(t *testing.T) {
	db := index.New()
	for i := range 40 {
		add(t, db, fmt.Sprintf("model-%d", i), "1", "protected", file(t, ft.Net(uint64(i), 1, 128), formats.F32, true))
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
	if err := db.Verify(); err != nil {
		t.Fatal(err)
	}
	net := ft.Net(17, 1, 128)
	for name, fp := range map[string]*fingerprint.Fingerprint{
		"exact": file(t, net, formats.F32, false), "q8": file(t, net, formats.Q8_0, false),
		"child": file(t, ft.Noise(net, 1, 0.3), formats.F32, false), "transposed": file(t, ft.Transpose(net), formats.F32, false),
	} {
		got := match(t, db, fp)
		if len(got) != 1 || got[0].Model != "model-17" {
			t.Errorf("%s: %d matches: %+v", name, len(got), got)
		}
	}
	if got := match(t, db, file(t, ft.Net(99, 1, 128), formats.F32, false)); len(got) != 0 {
		t.Errorf("an independent model matches %s", got[0].Model)
	}
}

func TestAddReplacesAndRemoves(t *testing.T) {
	db := index.New()
	a, b := file(t, ft.Net(1, 1, 64), formats.F32, true), file(t, ft.Net(2, 1, 64), formats.F32, true)
	add(t, db, "a", "1", "protected", a)
	add(t, db, "b", "1", "public", b)
	add(t, db, "a", "1", "protected", a)
	if db.Len() != 2 {
		t.Fatalf("%d entries after adding one twice", db.Len())
	}
	if n := db.Remove("b", ""); n != 1 {
		t.Fatalf("removed %d", n)
	}
	var buf bytes.Buffer
	if _, err := db.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	again, err := index.Decode(buf.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if e := again.Entries(); len(e) != 1 || e[0].Model != "a" {
		t.Fatalf("entries after a round trip: %+v", e)
	}
	if got := match(t, again, b); len(got) != 0 {
		t.Errorf("a removed model still matches")
	}
}

func FuzzDecode(f *testing.F) {
	db := index.New()
	add(f, db, "a", "1", "protected", file(f, ft.Net(1, 1, 64), formats.F32, true))
	var buf bytes.Buffer
	if _, err := db.WriteTo(&buf); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add([]byte("WWDB"))
	suspect := file(f, ft.Net(1, 1, 64), formats.F32, false)
	f.Fuzz(func(t *testing.T, b []byte) {
		db, err := index.Decode(b)
		if (db == nil) == (err == nil) {
			t.Fatalf("result %v and error %v", db, err)
		}
		if db == nil {
			return
		}
		db.Entries()
		if _, err := db.Match(context.Background(), suspect); err != nil {
			return
		}
		db.Verify()
	})
}
