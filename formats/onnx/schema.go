package onnx

import "weightwarden/formats"

// kind is a message type of onnx.proto.
type kind uint8

const (
	modelProto kind = iota
	graphProto
	nodeProto
	attributeProto
	tensorProto
	sparseProto
	trainingProto
	functionProto
	entryProto // StringStringEntryProto
	opsetProto
)

// child returns the message type of a field that holds a message which may lead
// to tensors or describes them.
func child(k kind, field uint64) (kind, bool) {
	switch k {
	case modelProto:
		switch field {
		case 7:
			return graphProto, true
		case 8:
			return opsetProto, true
		case 14:
			return entryProto, true
		case 20:
			return trainingProto, true
		case 25:
			return functionProto, true
		}
	case graphProto:
		switch field {
		case 1:
			return nodeProto, true
		case 5:
			return tensorProto, true
		case 15:
			return sparseProto, true
		}
	case nodeProto:
		return attributeProto, field == 5
	case attributeProto:
		switch field {
		case 5, 10:
			return tensorProto, true
		case 6, 11:
			return graphProto, true
		case 22, 23:
			return sparseProto, true
		}
	case sparseProto:
		return tensorProto, field == 1 || field == 2
	case trainingProto:
		return graphProto, field == 1 || field == 2
	case functionProto:
		switch field {
		case 7:
			return nodeProto, true
		case 11:
			return attributeProto, true
		}
	case tensorProto:
		return entryProto, field == 13
	}
	return 0, false
}

// knownFields has one bit for every field number of a message up to 63.
var knownFields = [...]uint64{
	modelProto:     bits(1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26),
	graphProto:     bits(1, 2, 5, 10, 11, 12, 13, 14, 15, 16),
	nodeProto:      bits(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
	attributeProto: bits(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 20, 21, 22, 23),
	tensorProto:    bits(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16),
	sparseProto:    bits(1, 2, 3),
	trainingProto:  bits(1, 2, 3, 4),
	functionProto:  bits(1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14),
	entryProto:     bits(1, 2),
	opsetProto:     bits(1, 2),
}

func bits(fields ...uint) uint64 {
	var v uint64
	for _, f := range fields {
		v |= 1 << f
	}
	return v
}

func known(k kind, field uint64) bool { return field < 64 && knownFields[k]>>field&1 == 1 }

// The typed data fields of TensorProto.
const (
	floatData  = 4
	int32Data  = 5
	int64Data  = 7
	rawData    = 9
	doubleData = 10
	uint64Data = 11
)

// dataType is a TensorProto.DataType: its element type, the field that carries
// typed data, and how many bytes one number of that field stands for.
type dataType struct {
	dtype formats.DType
	field uint64
	bytes int64
}

const typeString = 8

var dataTypes = [...]dataType{
	1: {formats.F32, floatData, 4}, 2: {formats.U8, int32Data, 1}, 3: {formats.I8, int32Data, 1},
	4: {formats.U16, int32Data, 2}, 5: {formats.I16, int32Data, 2}, 6: {formats.I32, int32Data, 4},
	7: {formats.I64, int64Data, 8}, 9: {formats.Bool, int32Data, 1}, 10: {formats.F16, int32Data, 2},
	11: {formats.F64, doubleData, 8}, 12: {formats.U32, uint64Data, 4}, 13: {formats.U64, uint64Data, 8},
	14: {formats.C64, floatData, 4}, 15: {formats.C128, doubleData, 8}, 16: {formats.BF16, int32Data, 2},
	17: {formats.F8E4M3, int32Data, 1}, 18: {formats.F8E4M3Z, int32Data, 1}, 19: {formats.F8E5M2, int32Data, 1},
	20: {formats.F8E5M2Z, int32Data, 1}, 21: {formats.U4, int32Data, 1}, 22: {formats.I4, int32Data, 1},
	23: {formats.F4E2M1, int32Data, 1}, 24: {formats.F8E8M0, int32Data, 1}, 25: {formats.U2, int32Data, 1},
	26: {formats.I2, int32Data, 1},
}
