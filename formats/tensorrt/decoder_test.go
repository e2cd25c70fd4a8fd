package tensorrt

import (
	"testing"

	"weightwarden/formats"
	"weightwarden/formats/formatstest"
)

func corpus() []formatstest.Case {
	return []formatstest.Case{{Name: "plan", Data: append([]byte("ftrt"), make([]byte, 60)...), Tensors: 1, Open: true}}
}

func TestConformance(t *testing.T) { formatstest.Run(t, Decoder{}, corpus()) }

func FuzzDecoder(f *testing.F) { formatstest.Fuzz(f, Decoder{}, corpus()) }

func TestPlanIsUnread(t *testing.T) {
	m, err := formatstest.Check(t, Decoder{}, formats.BytesSource(corpus()[0].Data), formats.Limits{})
	if err != nil || len(m.Findings) != 1 || m.Findings[0].Severity != formats.Unread || m.Tensors[0].Data.Length != 64 {
		t.Errorf("%+v, %v", m, err)
	}
}
