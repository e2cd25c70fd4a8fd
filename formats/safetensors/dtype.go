package safetensors

import (
	"github.com/nlpodyssey/safetensors"

	"weightwarden/formats"
)

// classic translates the types that nlpodyssey/safetensors knows.
var classic = [...]formats.DType{
	safetensors.BOOL: formats.Bool, safetensors.U8: formats.U8, safetensors.I8: formats.I8,
	safetensors.I16: formats.I16, safetensors.U16: formats.U16, safetensors.F16: formats.F16,
	safetensors.BF16: formats.BF16, safetensors.I32: formats.I32, safetensors.U32: formats.U32,
	safetensors.F32: formats.F32, safetensors.F64: formats.F64, safetensors.I64: formats.I64,
	safetensors.U64: formats.U64,
}

// parseDType returns the type of a dtype string of the header, and false for one
// that no present specification has.
func parseDType(name string) (formats.DType, bool) {
	if d, err := safetensors.ParseDType(name); err == nil && int(d) < len(classic) {
		return classic[d], true
	}
	switch name {
	case "F8_E4M3":
		return formats.F8E4M3, true
	case "F8_E5M2":
		return formats.F8E5M2, true
	case "F8_E4M3FNUZ":
		return formats.F8E4M3Z, true
	case "F8_E5M2FNUZ":
		return formats.F8E5M2Z, true
	case "F8_E8M0":
		return formats.F8E8M0, true
	case "F6_E2M3":
		return formats.F6E2M3, true
	case "F6_E3M2":
		return formats.F6E3M2, true
	case "F4":
		return formats.F4E2M1, true
	case "C64":
		return formats.C64, true
	}
	return formats.Unknown, false
}
