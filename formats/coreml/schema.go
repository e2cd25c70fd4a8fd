package coreml

import (
	"weightwarden/formats"
	"weightwarden/formats/internal/protobuf"
)

// The message types of Model.proto, MIL.proto and NeuralNetwork.proto that lead to
// weights.
const (
	model protobuf.Kind = iota
	pipelineOf
	pipeline

	program
	entryFunction // entries of maps: key and value
	function
	entryBlock
	block
	operation
	entryInput
	argument
	binding
	entryAttribute
	namedType
	value
	valueType
	tensorType
	dimension
	constantDimension
	immediate
	tensorValue
	repeated
	blobFile

	network
	layer
	lstmWeights
	weightParams
	quantization
	linearQuantization
	tableQuantization
	branch
	activation
	firstParams // of the layers with weights, see layers
)

type edge struct {
	kind   protobuf.Kind
	number uint64
}

// edges are the fields of messages that hold messages.
var edges = map[edge]protobuf.Kind{
	{model, 200}: pipelineOf, {model, 201}: pipelineOf, {model, 202}: pipeline, {pipelineOf, 1}: pipeline, {pipeline, 1}: model,
	{model, 502}: program, {model, 500}: network, {model, 303}: network, {model, 403}: network,

	{program, 2}: entryFunction, {entryFunction, 2}: function, {function, 3}: entryBlock, {entryBlock, 2}: block,
	{block, 3}: operation, {operation, 2}: entryInput, {operation, 3}: namedType, {operation, 4}: block,
	{operation, 5}: entryAttribute, {entryInput, 2}: argument, {argument, 1}: binding, {binding, 2}: value,
	{entryAttribute, 2}: value, {value, 2}: valueType, {value, 3}: immediate, {value, 5}: blobFile,
	{valueType, 1}: tensorType, {tensorType, 3}: dimension, {dimension, 1}: constantDimension, {immediate, 1}: tensorValue,
	{tensorValue, 1}: repeated, {tensorValue, 2}: repeated, {tensorValue, 3}: repeated, {tensorValue, 4}: repeated,
	{tensorValue, 5}: repeated, {tensorValue, 6}: repeated, {tensorValue, 7}: repeated,

	{network, 1}: layer, {layer, 130}: activation, {layer, 605}: branch, {layer, 615}: branch,
	{branch, 1}: network, {branch, 2}: network, {branch, 3}: network, {branch, 4}: network,
	{weightParams, 40}: quantization, {quantization, 101}: linearQuantization, {quantization, 102}: tableQuantization,
}

// layerKind is what the parameters of a layer hold: the fields with weights, and
// their shapes from the numbers of the same message.
type layerKind struct {
	field   uint64
	weights map[uint64]string
	shape   func(p *params, weight uint64) []int64
}

// layers have the kinds from firstParams on, in this order.
var layers = [...]layerKind{
	{100, map[uint64]string{90: "weights", 91: "bias"}, convolutionShape},
	{140, map[uint64]string{20: "weights", 21: "bias"}, matrixShape(2, 1)},
	{150, map[uint64]string{20: "weights", 21: "bias"}, matrixShape(2, 1)},
	{1040, map[uint64]string{20: "weights", 21: "bias"}, matrixShape(2, 1)},
	{160, map[uint64]string{15: "gamma", 16: "beta", 17: "mean", 18: "variance"},
		func(p *params, _ uint64) []int64 { return []int64{p.number(1, 0)} }},
	{245, map[uint64]string{2: "scale", 5: "bias"}, func(p *params, weight uint64) []int64 { return p.lists(weight - 1) }},
	{250, map[uint64]string{2: "bias"}, listShape},
	{290, map[uint64]string{2: "data"}, listShape},
	{1070, map[uint64]string{2: "data"}, listShape},
	{1350, map[uint64]string{3: "gamma", 4: "beta"}, listShape},
	{1045, map[uint64]string{8: "weights", 9: "bias"}, matrixShape(6, 5)}, // stored transposed
	{1471, map[uint64]string{60: "weights", 61: "bias"}, convolution3Shape},
	{400, map[uint64]string{30: "weightMatrix", 31: "recursionMatrix", 32: "biasVector"}, recurrentShape(30, 30)},
	{410, map[uint64]string{30: "updateGateWeightMatrix", 31: "resetGateWeightMatrix", 32: "outputGateWeightMatrix",
		50: "updateGateRecursionMatrix", 51: "resetGateRecursionMatrix", 52: "outputGateRecursionMatrix",
		70: "updateGateBiasVector", 71: "resetGateBiasVector", 72: "outputGateBiasVector"}, recurrentShape(32, 52)},
	{420, map[uint64]string{20: "weightParams"}, recurrentShape(4, 23)},
	{430, map[uint64]string{20: "weightParams"}, recurrentShape(4, 23)},
	{500, map[uint64]string{20: "weights"}, nil},
	{0, map[uint64]string{1: "alpha", 2: "beta"}, nil}, // of activations
}

// lstmNames are the weights of both kinds of LSTM layers.
var lstmNames = map[uint64]string{1: "inputGateWeightMatrix", 2: "forgetGateWeightMatrix", 3: "blockInputWeightMatrix",
	4: "outputGateWeightMatrix", 20: "inputGateRecursionMatrix", 21: "forgetGateRecursionMatrix", 22: "blockInputRecursionMatrix",
	23: "outputGateRecursionMatrix", 40: "inputGateBiasVector", 41: "forgetGateBiasVector", 42: "blockInputBiasVector",
	43: "outputGateBiasVector", 60: "inputGatePeepholeVector", 61: "forgetGatePeepholeVector", 62: "outputGatePeepholeVector"}

const (
	lstmParams       = 420
	twoLSTMParams    = 430
	activationParams = 0
)

func kindOf(field uint64) (protobuf.Kind, bool) {
	for i := range layers {
		if layers[i].field == field {
			return firstParams + protobuf.Kind(i), true
		}
	}
	return 0, false
}

// paramsOf returns the layer whose parameters a message is, nil for none.
func paramsOf(k protobuf.Kind) *layerKind {
	if k < firstParams || int(k-firstParams) >= len(layers) {
		return nil
	}
	return &layers[k-firstParams]
}

// child returns the message type of a field.
func child(k protobuf.Kind, number uint64) (protobuf.Kind, bool) {
	if to, ok := edges[edge{k, number}]; ok {
		return to, true
	}
	switch {
	case k == layer && number != activationParams:
		return kindOf(number)
	case k == activation && (number == 25 || number == 71):
		return kindOf(activationParams)
	case k == lstmWeights:
		_, ok := lstmNames[number]
		return weightParams, ok
	}
	if l := paramsOf(k); l != nil && l.weights[number] != "" {
		if l.field == lstmParams || l.field == twoLSTMParams {
			return lstmWeights, true
		}
		return weightParams, true
	}
	return 0, false
}

// params are the numbers of a layer's parameters, by field.
type params struct {
	numbers map[uint64][]int64
}

func (p *params) lists(field uint64) []int64 { return p.numbers[field] }

func (p *params) number(field uint64, missing int64) int64 {
	if v := p.numbers[field]; len(v) > 0 && v[0] > 0 {
		return v[0]
	}
	return missing
}

func listShape(p *params, _ uint64) []int64 { return p.lists(1) }

// matrixShape is that of a matrix of rows and columns, and of a vector behind it.
func matrixShape(rows, cols uint64) func(*params, uint64) []int64 {
	return func(p *params, weight uint64) []int64 {
		if weight == 20 || weight == 8 {
			return []int64{p.number(rows, 0), p.number(cols, 0)}
		}
		return []int64{p.number(rows, 0)}
	}
}

// recurrentShape is that of matrices from the input up to one field, then of those
// from the output of the step before, then of vectors.
func recurrentShape(input, output uint64) func(*params, uint64) []int64 {
	return func(p *params, weight uint64) []int64 {
		switch {
		case weight <= input:
			return []int64{p.number(2, 0), p.number(1, 0)}
		case weight <= output || input == output && weight == input+1:
			return []int64{p.number(2, 0), p.number(2, 0)}
		}
		return []int64{p.number(2, 0)}
	}
}

// convolutionShape is [out, in of a group, height, width], or of a transposed
// convolution [in, out of a group, height, width].
func convolutionShape(p *params, weight uint64) []int64 {
	if weight != 90 {
		return []int64{p.number(1, 0)}
	}
	out, in, groups := p.number(1, 0), p.number(2, 0), p.number(10, 1)
	kernel := p.lists(20)
	if len(kernel) == 0 {
		kernel = []int64{3, 3}
	}
	if p.number(60, 0) != 0 {
		out, in = in, out/groups
	}
	return append([]int64{out, in}, kernel...)
}

func convolution3Shape(p *params, weight uint64) []int64 {
	if weight != 60 {
		return []int64{p.number(1, 0)}
	}
	out, in, groups := p.number(1, 0), p.number(2, 0), p.number(10, 1)
	if p.number(86, 0) != 0 {
		out, in = in, out/groups
	} else {
		in /= groups
	}
	return []int64{out, in, p.number(20, 0), p.number(21, 0), p.number(22, 0)}
}

// channelAxis is the axis of the output channels of a layer's weights, along which
// their scales run.
func (l *layerKind) channelAxis(p *params) int {
	if l.field == 100 && p.number(60, 0) != 0 || l.field == 1471 && p.number(86, 0) != 0 {
		return 1
	}
	return 0
}

// milType is the type of a DataType of MIL.proto.
func milType(v uint64) formats.DType {
	switch v {
	case 1:
		return formats.Bool
	case 10:
		return formats.F16
	case 11:
		return formats.F32
	case 12:
		return formats.F64
	case 13:
		return formats.BF16
	case 40:
		return formats.F8E4M3
	case 41:
		return formats.F8E5M2
	}
	integers := [...]formats.DType{21: formats.I8, 22: formats.I16, 23: formats.I32, 24: formats.I64, 25: formats.I4,
		31: formats.U8, 32: formats.U16, 33: formats.U32, 34: formats.U64, 35: formats.U4, 36: formats.U2, 37: formats.U1,
		38: formats.U6, 39: formats.U3}
	if v < uint64(len(integers)) {
		return integers[v]
	}
	return formats.Unknown
}

const milString = 2
