package pytorch

import (
	"strings"

	"weightwarden/formats"
	"weightwarden/formats/pytorch/pickle"
)

// storage is a flat piece of memory that tensors view.
type storage struct {
	src            formats.Source // nil where the record is missing
	offset, length int64          // bytes in src
	dtype          formats.DType  // Unknown for untyped storages
	numel          int64          // elements of dtype, as claimed
	bigEndian      bool
	key            string
}

// storageDType returns the element type of a storage class. PyTorch takes any
// class whose name contains Storage, whatever its module.
func storageDType(class pickle.Value) (formats.DType, bool) {
	g, ok := class.(*pickle.Global)
	if !ok {
		return formats.Unknown, false
	}
	name, ok := strings.CutSuffix(g.Name, "Storage")
	if !ok {
		return torchDType(class)
	}
	switch name {
	case "Float":
		return formats.F32, true
	case "Double":
		return formats.F64, true
	case "Half":
		return formats.F16, true
	case "BFloat16":
		return formats.BF16, true
	case "Long":
		return formats.I64, true
	case "Int", "QInt32":
		return formats.I32, true
	case "Short":
		return formats.I16, true
	case "Char", "QInt8":
		return formats.I8, true
	case "Byte", "QUInt8":
		return formats.U8, true
	case "Bool":
		return formats.Bool, true
	case "ComplexFloat":
		return formats.C64, true
	case "ComplexDouble":
		return formats.C128, true
	case "QUInt4x2":
		return formats.U4, true
	case "QUInt2x4":
		return formats.U2, true
	case "Untyped", "_":
		return formats.Unknown, true
	}
	return formats.Unknown, false
}

// torchDType returns the element type that a torch.dtype names.
func torchDType(v pickle.Value) (formats.DType, bool) {
	g, ok := v.(*pickle.Global)
	if !ok {
		return formats.Unknown, false
	}
	switch g.Name {
	case "float32", "float":
		return formats.F32, true
	case "float64", "double":
		return formats.F64, true
	case "float16", "half":
		return formats.F16, true
	case "bfloat16":
		return formats.BF16, true
	case "float8_e4m3fn":
		return formats.F8E4M3, true
	case "float8_e5m2":
		return formats.F8E5M2, true
	case "float8_e4m3fnuz":
		return formats.F8E4M3Z, true
	case "float8_e5m2fnuz":
		return formats.F8E5M2Z, true
	case "float8_e8m0fnu":
		return formats.F8E8M0, true
	case "float4_e2m1fn_x2": // one byte holds two; shapes count bytes
		return formats.U8, true
	}
	return integerDType(g.Name)
}

func integerDType(name string) (formats.DType, bool) {
	switch name {
	case "int64", "long":
		return formats.I64, true
	case "int32", "int", "qint32":
		return formats.I32, true
	case "int16", "short", "bits16":
		return formats.I16, true
	case "int8", "qint8":
		return formats.I8, true
	case "uint8", "quint8", "bits8", "bits1x8", "bits2x4", "bits4x2":
		return formats.U8, true
	case "uint16":
		return formats.U16, true
	case "uint32":
		return formats.U32, true
	case "uint64":
		return formats.U64, true
	case "bool":
		return formats.Bool, true
	case "complex32", "chalf":
		return formats.C32, true
	case "complex64", "cfloat":
		return formats.C64, true
	case "complex128", "cdouble":
		return formats.C128, true
	case "quint4x2":
		return formats.U4, true
	case "quint2x4":
		return formats.U2, true
	}
	return formats.Unknown, false
}

// storageID is what a persistent id of kind "storage" says.
type storageID struct {
	dtype      formats.DType
	typed      bool // the class is known
	key        string
	numel      int64
	view       bool // legacy: a part of the storage under key
	viewKey    string
	viewOffset int64 // elements
	viewNumel  int64
}

// parseStorageID reads ("storage", class, key, location, numel[, view]).
func parseStorageID(p *pickle.Persistent) (storageID, bool) {
	t, ok := p.ID.(*pickle.Seq)
	if !ok || len(t.Items) < 5 {
		return storageID{}, false
	}
	if kind, _ := t.Items[0].(string); kind != "storage" {
		return storageID{}, false
	}
	var s storageID
	s.dtype, s.typed = storageDType(t.Items[1])
	if s.key, ok = keyText(t.Items[2]); !ok {
		return storageID{}, false
	}
	if s.numel, ok = t.Items[4].(int64); !ok {
		return storageID{}, false
	}
	if len(t.Items) > 5 {
		if v, ok := t.Items[5].(*pickle.Seq); ok && len(v.Items) == 3 {
			s.viewKey, _ = keyText(v.Items[0])
			off, okOff := v.Items[1].(int64)
			n, okN := v.Items[2].(int64)
			s.viewOffset, s.viewNumel, s.view = off, n, okOff && okN
		}
	}
	return s, true
}
