"""Writes small ONNX files by the onnx package.

usage: fixtures_onnx.py OUT_DIR

A tensor in a node's attribute is listed under its own name, or the node's output
where it has none; those of sub-graphs and functions like any other, so that a
name may stand there several times.
"""
import pathlib
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

import save

RNG = numpy.random.default_rng(5)
LABELS = {
    TensorProto.FLOAT: "F32", TensorProto.UINT8: "U8", TensorProto.INT8: "I8", TensorProto.UINT16: "U16",
    TensorProto.INT16: "I16", TensorProto.INT32: "I32", TensorProto.INT64: "I64", TensorProto.BOOL: "BOOL",
    TensorProto.FLOAT16: "F16", TensorProto.DOUBLE: "F64", TensorProto.UINT32: "U32", TensorProto.UINT64: "U64",
    TensorProto.COMPLEX64: "C64", TensorProto.COMPLEX128: "C128", TensorProto.BFLOAT16: "BF16",
    TensorProto.FLOAT8E4M3FN: "F8_E4M3", TensorProto.FLOAT8E4M3FNUZ: "F8_E4M3FNUZ", TensorProto.FLOAT8E5M2: "F8_E5M2",
    TensorProto.FLOAT8E5M2FNUZ: "F8_E5M2FNUZ", TensorProto.UINT4: "U4", TensorProto.INT4: "I4",
    TensorProto.FLOAT4E2M1: "F4",
}
PACKED = {TensorProto.UINT4, TensorProto.INT4, TensorProto.FLOAT4E2M1}


def contents(proto):
    """Little-endian bytes as the onnx package reads them; four-bit types packed
    low nibble first, as raw_data holds them."""
    array = numpy_helper.to_array(proto)
    if proto.data_type not in PACKED:
        return array.tobytes()
    flat = array.reshape(-1).view(numpy.uint8) & 15
    flat = numpy.append(flat, numpy.zeros(len(flat) % 2, numpy.uint8))
    return (flat[0::2] | flat[1::2] << 4).astype(numpy.uint8).tobytes()


def entry(name, proto):
    return save.entry(name, LABELS[proto.data_type], proto.dims, contents(proto))


def tensors_of(graph):
    out = [entry(t.name, t) for t in graph.initializer]
    for s in graph.sparse_initializer:
        out += [entry(s.values.name, s.values), entry(s.indices.name, s.indices)]
    return out + node_tensors(graph.node)


def node_tensors(nodes):
    out = []
    for node in nodes:
        for a in node.attribute:
            if a.type == onnx.AttributeProto.TENSOR:
                out.append(entry(a.t.name or node.output[0], a.t))
            elif a.type == onnx.AttributeProto.GRAPH:
                out += tensors_of(a.g)
    return out


def expect_model(path):
    model = onnx.load(str(path))
    out = tensors_of(model.graph)
    for f in model.functions:
        out += node_tensors(f.node)
    for info in model.training_info:
        out += tensors_of(info.initialization) + tensors_of(info.algorithm)
    save.expect(path, out)


def floats(*shape):
    return RNG.standard_normal(shape).astype(numpy.float32)


def value(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def model(nodes, initializers, functions=(), **graph_fields):
    graph = helper.make_graph(nodes, "g", [value("x", 4, 8)], [value("y", 4, 8)], initializers, **graph_fields)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ww.test", 1)]
    return helper.make_model(graph, producer_name="weightwarden-testdata", opset_imports=opsets, functions=list(functions))


def write(m, path, **options):
    onnx.save(m, str(path), **options)
    expect_model(path)


def identity():
    return helper.make_node("Identity", ["x"], ["y"])


def raw_dtypes(out):
    """Every element type as raw_data, odd element counts too."""
    tensors = []
    for kind, label in LABELS.items():
        size = {"C128": 16, "F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2,
                "BF16": 2, "I16": 2, "U16": 2}.get(label, 1)
        data = RNG.integers(0, 2 if label == "BOOL" else 256, 15 * size, dtype=numpy.uint8)
        if kind in PACKED:
            data = numpy.append(data[:7], data[7] & 15).astype(numpy.uint8)
        tensors.append(helper.make_tensor(label.lower(), kind, [3, 5], data.tobytes(), raw=True))
    write(model([identity()], tensors), out / "dtypes_raw.onnx")


def typed_dtypes(out):
    """The same types in float_data, int32_data, int64_data, double_data and uint64_data."""
    tensors = []
    for kind, label in LABELS.items():
        whole = numpy.arange(15) % (2 if label in ("BOOL", "F4") else 7)
        tensors.append(helper.make_tensor(label.lower(), kind, [3, 5], whole.tolist()))
    negative = numpy.arange(-7, 8)
    for kind in (TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT16, TensorProto.INT4):
        tensors.append(helper.make_tensor(f"neg_{LABELS[kind].lower()}", kind, [15], negative.tolist()))
    write(model([identity()], tensors), out / "dtypes_typed.onnx")


def constants(out):
    """Constant and ConstantOfShape nodes, tensors inside attributes, a function."""
    nodes = [
        helper.make_node("Constant", [], ["c_raw"], value=numpy_helper.from_array(floats(8, 8), "inner_name")),
        helper.make_node("Constant", [], ["c_typed"], value=helper.make_tensor("", TensorProto.FLOAT, [2, 3], floats(6).tolist())),
        helper.make_node("Constant", [], ["c_list"], value_floats=floats(5).tolist()),
        helper.make_node("ConstantOfShape", ["c_raw"], ["z"], name="fill", value=numpy_helper.from_array(floats(1))),
        helper.make_node("MatMul", ["x", "c_raw"], ["m"]), helper.make_node("Scale", ["m"], ["y"], domain="ww.test"),
    ]
    inner = [helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(floats(8))),
             helper.make_node("Mul", ["a", "k"], ["b"])]
    f = helper.make_function("ww.test", "Scale", ["a"], ["b"], inner, [helper.make_opsetid("", 21)])
    write(model(nodes, [numpy_helper.from_array(floats(4, 8), "w")], [f]), out / "constants.onnx")


def branch(depth):
    """An If inside an If inside an If, each branch with an initializer of its own."""
    weight = numpy_helper.from_array(floats(4, 8), f"w_{depth}")
    node = helper.make_node("Add", ["x", weight.name], [f"r_{depth}"])
    nodes = [node]
    if depth:
        nodes = [helper.make_node("If", ["cond"], [f"r_{depth}"], name=f"if_{depth}", then_branch=branch(depth - 1), else_branch=branch(depth - 1))]
    return helper.make_graph(nodes, f"b_{depth}", [], [value(f"r_{depth}", 4, 8)], [weight])


def subgraphs(out):
    cond = numpy_helper.from_array(numpy.array(True), "cond")
    node = helper.make_node("If", ["cond"], ["y"], name="if_top", then_branch=branch(2), else_branch=branch(1))
    write(model([node], [cond]), out / "subgraphs.onnx")


def sparse(out):
    values = numpy_helper.from_array(floats(3), "sp")
    indices = numpy_helper.from_array(numpy.array([1, 5, 9], numpy.int64), "sp_indices")
    s = helper.make_sparse_tensor(values, indices, [4, 8])
    m = model([identity()], [], sparse_initializer=[s])
    training = m.training_info.add()
    training.initialization.CopyFrom(helper.make_graph([], "init", [], [], [numpy_helper.from_array(floats(2, 4), "momentum")]))
    training.algorithm.CopyFrom(helper.make_graph([], "step", [], [], []))
    write(m, out / "sparse_training.onnx")


def external(out):
    """Weights in files beside the model: one for all, then one each."""
    folder = out / "external"
    folder.mkdir(exist_ok=True)
    def three():
        return [numpy_helper.from_array(floats(16, 32), f"w{i}") for i in range(3)] + [numpy_helper.from_array(floats(4), "inline")]
    write(model([identity()], three()), folder / "one.onnx", save_as_external_data=True, all_tensors_to_one_file=True,
          location="one.onnx.data", size_threshold=64)
    write(model([identity()], three()), folder / "many.onnx", save_as_external_data=True, all_tensors_to_one_file=False,
          size_threshold=64)


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for make in (raw_dtypes, typed_dtypes, constants, subgraphs, sparse, external):
        for old in out.glob("external/*"):
            if make is external:
                old.unlink()  # the package appends to data files that exist
        make(out)


main()
