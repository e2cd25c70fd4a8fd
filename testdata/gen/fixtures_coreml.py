"""Writes small Core ML models by coremltools: programs with weights in a file
beside them, plain and packed in every way that iOS 16 and 18 unpack, and neural
networks, plain and quantised. It needs an environment of its own:
requirements-coreml.txt.

usage: fixtures_coreml.py OUT_DIR

X.expect.json are the tensors of X as they are stored; X.values.json the numbers
that coremltools unpacks of them.
"""
import hashlib
import json
import pathlib
import shutil
import sys

import coremltools as ct
import numpy
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.frontend.milproto.load import load as load_program
from coremltools.converters.mil.mil import types
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder, quantization_utils
from coremltools.models.neural_network.quantization_utils import _dequantize_nn_spec
from coremltools.optimize import _utils as packing
from coremltools.proto import Model_pb2

RNG = numpy.random.default_rng(21)
LABELS = {"float32": "F32", "float16": "F16", "int32": "I32", "int8": "I8", "uint8": "U8", "uint32": "U32", "bool": "BOOL"}
INSIDE = "Data/com.apple.CoreML"


def noise(*shape, dtype="float32"):
    return (RNG.standard_normal(shape) * 0.1).astype(dtype)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def entry(name, a, label=None, data=None):
    a = numpy.asarray(a)
    return {"name": name, "dtype": label or LABELS[a.dtype.name], "shape": list(a.shape), "sha256": digest(data or a.tobytes())}


def write(path, found):
    lines = [json.dumps(e) for e in sorted(found, key=lambda e: e["name"])]
    pathlib.Path(path).write_text("[\n" + ",\n".join(lines) + "\n]\n")


def value(name, a):
    a = numpy.ascontiguousarray(a, dtype="<f4")
    return {"name": name, "dtype": "F32", "shape": list(a.shape), "sha256": digest(a.tobytes())}


def narrow(name, a, bits):
    """Codes of fewer bits than a byte; the library holds them in bytes."""
    label = f"U{bits}" if a.dtype.name.startswith("uint") else f"I{bits}"
    return entry(name, a, label, packing.pack_elements_into_bits(numpy.asarray(a).flatten(), bits).tobytes())


def along(a, shape, axis):
    return numpy.asarray(a).reshape([len(a) if i == axis % len(shape) else 1 for i in range(len(shape))]) if numpy.ndim(a) else a


def stored(op):
    """The tensors of an operator as the file has them: those of iOS 16 as bytes,
    of which operator and shape tell the codes."""
    name, parts = op.outputs[0].name, {k: v.val for k, v in op.inputs.items() if v is not None}
    if op.op_type == "const":
        if not isinstance(op.outputs[0].val, (str, bytes)):
            yield entry(name, numpy.asarray(op.outputs[0].val))
        return
    for key, a in parts.items():
        if isinstance(a, (str, bytes)):
            continue
        a, bits = numpy.asarray(a), 8
        if "shape" in parts and key == "indices":
            bits = int(numpy.log2(parts["lut"].size))
            a = packing.restore_elements_from_packed_bits(a, bits, int(numpy.prod(parts["shape"]))).reshape(parts["shape"])
        elif "shape" in parts and key == "mask":
            bits, a = 1, numpy.unpackbits(a, bitorder="little")[:int(numpy.prod(parts["shape"]))].reshape(parts["shape"])
        elif "quantized_data" in parts and key in ("scale", "zero_point"):
            a = along(a, parts["quantized_data"].shape, int(parts["axis"]))
        elif types.is_sub_byte(op.inputs[key].dtype) if hasattr(types, "is_sub_byte") else False:
            bits = op.inputs[key].dtype.get_bitwidth()
        yield entry(name + "." + key, a) if bits == 8 else narrow(name + "." + key, a, bits)


def unpacked(op):
    """The numbers of a weight, which the library rounds to f16 where the steps are."""
    if op.op_type == "constexpr_affine_dequantize":
        return op.decompress(op.quantized_data.val, op.zero_point.val, op.scale.val.astype("float32"), op.axis.val)
    return op.materialized_val_inference()


def program(path, prog, target):
    m = ct.convert(prog, convert_to="mlprogram", minimum_deployment_target=target, pass_pipeline=ct.PassPipeline.EMPTY,
                   compute_precision=ct.precision.FLOAT32, skip_model_load=True)
    shutil.rmtree(path, ignore_errors=True)
    m.save(str(path))
    # Where the package lists its items their names are random.
    manifest = path / "Manifest.json"
    listing = json.loads(manifest.read_text())
    items = sorted(listing["itemInfoEntries"].values(), key=lambda v: v["name"])
    listing["itemInfoEntries"] = {f"00000000-0000-0000-0000-{i:012}": v for i, v in enumerate(items)}
    listing["rootModelIdentifier"] = "00000000-0000-0000-0000-000000000000"
    manifest.write_text(json.dumps(listing, indent=4) + "\n")
    file = path / INSIDE / "model.mlmodel"
    spec = Model_pb2.Model.FromString(file.read_bytes())
    file.write_bytes(spec.SerializeToString(deterministic=True))  # maps are written in no order
    loaded = load_program(spec, spec.specificationVersion, str(path / INSIDE / "weights"))
    ops = {op.outputs[0].name: op for op in loaded.functions["main"].operations}
    values = [value(name, unpacked(op)) for name, op in ops.items()
              if op.op_type.startswith("constexpr_") and op.op_type != "constexpr_cast"]
    found = []
    for block in spec.mlProgram.functions["main"].block_specializations.values():
        for proto in block.operations:
            if proto.type.startswith("const"):
                found += stored(ops[proto.outputs[0].name])
    write(f"{file}.expect.json", found)
    write(f"{file}.values.json", values)


def ios16(path):
    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 8, 6, 6))], opset_version=ct.target.iOS16)
    def prog(x):
        codes = RNG.integers(-128, 128, (16, 8, 3, 3)).astype("int8")
        w = mb.constexpr_affine_dequantize(quantized_data=codes, zero_point=RNG.integers(-9, 9, 16).astype("int8"),
                                           scale=numpy.abs(noise(16)) + numpy.float32(0.01), axis=0, name="affine_rows")
        y = mb.conv(x=x, weight=w, bias=noise(16), pad_type="same", name="conv")
        y = mb.reduce_mean(x=y, axes=[2, 3])
        w = mb.constexpr_affine_dequantize(quantized_data=RNG.integers(0, 256, (16, 16)).astype("uint8"),
                                           zero_point=RNG.integers(99, 140, 16).astype("uint8"),
                                           scale=numpy.abs(noise(16, dtype="float16")) + numpy.float16(0.01), axis=1, name="affine_columns")
        y = mb.cast(x=mb.linear(x=mb.cast(x=y, dtype="fp16"), weight=w), dtype="fp32")
        for bits in (1, 2, 4, 6, 8):
            w = mb.constexpr_lut_to_dense(indices=packing.pack_elements_into_bits(RNG.integers(0, 1 << bits, 16 * 16).astype("uint8"), bits),
                                          lut=noise(1 << bits), shape=numpy.uint32([16, 16]), name=f"lut_{bits}")
            y = mb.linear(x=y, weight=w)
        mask = RNG.random(16 * 16) < 0.3
        w = mb.constexpr_sparse_to_dense(nonzero_data=noise(int(mask.sum())), mask=numpy.packbits(mask, bitorder="little"),
                                         shape=numpy.uint32([16, 16]), name="sparse")
        y = mb.linear(x=y, weight=w)
        w = mb.constexpr_cast(source_val=noise(16, 16, dtype="float16"), output_dtype="fp32", name="widened")
        return mb.linear(x=y, weight=w, bias=noise(16), name="out")

    program(path, prog, ct.target.iOS16)


def sub_byte(a, name):
    return numpy.asarray(a).astype(types.nptype_from_builtin(types.string_to_builtin(name)))


def ios18(path):
    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 64))], opset_version=ct.target.iOS18)
    def prog(x):
        def scales(*shape):
            return numpy.abs(noise(*shape)) + numpy.float32(0.01)

        w = mb.constexpr_blockwise_shift_scale(data=sub_byte(RNG.integers(-8, 8, (32, 64)), "int4"), scale=scales(32, 2), name="blocks_4")
        y = mb.linear(x=x, weight=w)
        w = mb.constexpr_blockwise_shift_scale(data=sub_byte(RNG.integers(0, 16, (32, 32)), "uint4"), scale=scales(16, 1),
                                               offset=sub_byte(RNG.integers(0, 16, (16, 1)), "uint4"), name="blocks_of_rows")
        y = mb.linear(x=y, weight=w)
        w = mb.constexpr_blockwise_shift_scale(data=RNG.integers(-128, 128, (32, 32)).astype("int8"), scale=scales(1, 32),
                                               offset=RNG.integers(-9, 9, (1, 32)).astype("int8"), name="columns_8")
        y = mb.linear(x=y, weight=w)
        w = mb.constexpr_lut_to_dense(indices=sub_byte(RNG.integers(0, 8, (32, 32)), "uint3"), lut=noise(4, 1, 8, 1), name="lut_3")
        y = mb.linear(x=y, weight=w)
        w = mb.constexpr_lut_to_dense(indices=sub_byte(RNG.integers(0, 64, (32, 32)), "uint6"), lut=noise(1, 2, 64, 1), name="lut_6")
        y = mb.linear(x=y, weight=w)
        mask = RNG.random((32, 32)) < 0.3
        w = mb.constexpr_sparse_to_dense(nonzero_data=noise(int(mask.sum())), mask=sub_byte(mask, "uint1"), name="sparse")
        y = mb.linear(x=y, weight=w)
        return mb.linear(x=y, weight=noise(8, 32), bias=noise(8), name="out")

    program(path, prog, ct.target.iOS18)


def network():
    b = NeuralNetworkBuilder([("x", datatypes.Array(3, 8, 8))], [("y", None)], disable_rank5_shape_mapping=True)
    b.add_batchnorm("norm", 3, noise(3), noise(3), noise(3), numpy.abs(noise(3)), input_name="x", output_name="n")
    b.add_convolution("conv", 3, 16, 3, 3, 1, 1, "same", 1, noise(3, 3, 3, 16), noise(16), True, input_name="n", output_name="a")
    b.add_convolution("deconv", 16, 8, 2, 2, 2, 2, "valid", 1, noise(2, 2, 16, 8), None, False, is_deconv=True, input_name="a", output_name="b")
    b.add_reshape_static("flat", "b", "d", [8, 256])
    b.add_inner_product("dense", noise(24, 256), noise(24), 256, 24, True, "d", "e")
    b.add_embedding_nd("table", "e", "f", 50, 12, noise(12, 50))
    b.add_batched_mat_mul("matmul", ["f"], "g", weight_matrix_rows=12, weight_matrix_columns=20, W=noise(12, 20), bias=noise(20))
    b.add_unilstm("lstm", [noise(20, 20) for _ in range(4)], [noise(20, 20) for _ in range(4)], [noise(20) for _ in range(4)], 20, 20,
                  ["g", "h0", "c0"], ["y", "h1", "c1"])
    b.add_load_constant_nd("constant", "k", noise(4, 5), (4, 5))
    return b.spec


SHAPES = {"conv.weights": (16, 3, 3, 3), "deconv.weights": (16, 8, 2, 2), "dense.weights": (24, 256), "table.weights": (12, 50),
          "matmul.weights": (20, 12), "constant.data": (4, 5), "conv.bias": (16,), "dense.bias": (24,), "matmul.bias": (20,)}
FIELDS = {"conv": ("convolution", "weights bias"), "deconv": ("convolution", "weights"), "norm": ("batchnorm", "gamma beta mean variance"),
          "dense": ("innerProduct", "weights bias"), "table": ("embeddingND", "weights"), "matmul": ("batchedMatmul", "weights bias"),
          "constant": ("loadConstantND", "data")}


def weights(spec):
    for layer in spec.neuralNetwork.layers:
        if layer.name == "lstm":
            for field, w in layer.uniDirectionalLSTM.weightParams.ListFields():
                yield f"lstm.{field.name}", w, (20, 20) if "Matrix" in field.name else (20,)
        kind, names = FIELDS.get(layer.name, ("", ""))
        for n in names.split():
            w = getattr(getattr(layer, kind), n)
            yield f"{layer.name}.{n}", w, SHAPES.get(f"{layer.name}.{n}", (3,))


def listed(name, w, shape):
    if w.rawValue:
        bits = w.quantization.numberOfBits
        raw = numpy.frombuffer(w.rawValue, "uint8")
        n = int(numpy.prod(shape)) if shape else len(raw) * 8 // bits
        a = quantization_utils._unpack_to_bytes(raw, n, bits) if bits < 8 else raw
        yield entry(name + ".quantized", numpy.asarray(a, "uint8").reshape(shape or (n,)))
        q = w.quantization
        axis = 1 if name.startswith("deconv") else 0
        for part, v in (("scale", q.linearQuantization.scale), ("offset", q.linearQuantization.bias), ("lut", q.lookupTableQuantization.floatValue)):
            if len(v):
                v = numpy.float32(v)
                yield entry(f"{name}.{part}", along(v, shape, axis) if part != "lut" and shape and len(v) == shape[axis] else v)
    elif w.float16Value:
        a = numpy.frombuffer(w.float16Value, "float16")
        yield entry(name, a.reshape(shape or a.shape))
    elif len(w.floatValue):
        a = numpy.float32(w.floatValue)
        yield entry(name, a.reshape(shape or a.shape))


def networks(out):
    spec = network()
    made = {"network": spec}
    for name, bits, mode in (("network_half", 16, ct.models._QUANTIZATION_MODE_LINEAR_QUANTIZATION), ("network_8", 8, ct.models._QUANTIZATION_MODE_LINEAR_QUANTIZATION),
                             ("network_5", 5, ct.models._QUANTIZATION_MODE_LINEAR_QUANTIZATION),
                             ("network_lut", 4, ct.models._QUANTIZATION_MODE_LOOKUP_TABLE_LINEAR)):
        made[name] = quantization_utils._quantize_spec_weights(Model_pb2.Model.FromString(spec.SerializeToString()), bits, mode)
    for name, s in made.items():
        path = out / f"{name}.mlmodel"
        path.write_bytes(s.SerializeToString(deterministic=True))
        write(f"{path}.expect.json", [e for w in weights(s) for e in listed(*w)])
        packed = [(n, shape) for n, w, shape in weights(s) if w.rawValue]
        if packed:
            plain = Model_pb2.Model.FromString(s.SerializeToString())
            _dequantize_nn_spec(plain.neuralNetwork)
            found = {n: numpy.float32(w.floatValue) for n, w, _ in weights(plain)}
            write(f"{path}.values.json", [value(n, found[n].reshape(shape or found[n].shape)) for n, shape in packed])


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    ios16(out / "ios16.mlpackage")
    ios18(out / "ios18.mlpackage")
    networks(out)


main()
