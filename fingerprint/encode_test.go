package fingerprint_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"weightwarden/fingerprint"
	ft "weightwarden/fingerprint/fingerprinttest"
	"weightwarden/formats"
)

func TestEncodeRoundTrip(t *testing.T) {
	fp := file(t, "head", ft.Net(3, 1, 256), formats.Q8_0, true)
	b := fp.Encode()
	got, err := fingerprint.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if got.Content() != fp.Content() || got.Files[0].Digest != fp.Files[0].Digest || got.Size != fp.Size {
		t.Error("digests or size changed on the way")
	}
	if again := got.Encode(); !bytes.Equal(again, b) {
		t.Error("encoding what was decoded gives other bytes")
	}
	if c := fingerprint.Compare(got, fp); c.Relation != fingerprint.Identical {
		t.Errorf("a decoded fingerprint is %s to its original", c.Relation)
	}
	for i := range got.Tensors {
		for k, v := range got.Tensors[i].Sketch.Sum {
			if w := fp.Tensors[i].Sketch.Sum[k]; math.Abs(float64(v-w)) > 1e-3*math.Abs(float64(w))+1e-3 {
				t.Fatalf("tensor %d: sum %d is %g, was %g", i, k, v, w)
			}
		}
	}
}

func TestDecodeRefusesDamage(t *testing.T) {
	b := file(t, "head", ft.Net(3, 1, 64), formats.F32, true).Encode()
	for n := range b {
		if fp, err := fingerprint.Decode(b[:n]); err == nil || fp != nil || !errors.Is(err, fingerprint.ErrEncoding) {
			t.Fatalf("cut at %d of %d: %v", n, len(b), err)
		}
	}
	for i := 0; i < len(b); i += 7 {
		c := bytes.Clone(b)
		c[i] ^= 0x55
		if _, err := fingerprint.Decode(c); err == nil {
			t.Fatalf("byte %d changed: not noticed", i)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(file(f, "head", ft.Net(3, 1, 64), formats.F32, true).Encode())
	f.Add(file(f, "head", nil, formats.F32, true).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		// The checksum would stop the fuzzer at the door: give it the right one.
		b = fingerprint.Reseal(b)
		fp, err := fingerprint.Decode(b)
		if (fp == nil) == (err == nil) {
			t.Fatalf("result %v and error %v", fp, err)
		}
		if fp != nil {
			fp.Content()
			fingerprint.Compare(fp, fp)
			if _, err := fingerprint.Decode(fp.Encode()); err != nil {
				t.Fatalf("what was decoded does not decode again: %v", err)
			}
		}
	})
}
