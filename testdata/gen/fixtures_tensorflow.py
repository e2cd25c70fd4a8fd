"""Writes small TensorFlow files by TensorFlow itself: a frozen graph, a SavedModel
and checkpoints of both versions. It needs an environment of its own:
requirements-tensorflow.txt.

usage: fixtures_tensorflow.py OUT_DIR
"""
import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import cramjam
import ml_dtypes
import numpy
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

RNG = numpy.random.default_rng(11)
LABELS = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
          "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
          "complex64": "C64", "complex128": "C128", "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3"}


def noise(*shape, dtype="float32"):
    return (RNG.standard_normal(shape) * 50).astype(dtype)


def entry(name, a):
    a = numpy.ascontiguousarray(a).reshape(numpy.shape(a))
    return {"name": name, "dtype": LABELS[a.dtype.name], "shape": list(a.shape),
            "sha256": hashlib.sha256(a.tobytes()).hexdigest()}


def expect(path, found):
    lines = [json.dumps(e) for e in sorted(found, key=lambda e: e["name"])]
    pathlib.Path(f"{path}.expect.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def constants(nodes, prefix=""):
    """What TensorFlow reads of every Const node."""
    out = []
    for n in nodes:
        if n.op == "Const" and n.attr["value"].tensor.dtype != tf.string.as_datatype_enum:
            out.append(entry(prefix + n.name, tf.make_ndarray(n.attr["value"].tensor)))
    return out


def graph_entries(graph):
    out = constants(graph.node)
    for f in graph.library.function:
        out += constants(f.node_def, f.signature.name + "/")
    return out


def typed(graph, name, a, field, values):
    """A Const node whose values stand in a typed field."""
    t = tf.make_tensor_proto(a)
    t.ClearField("tensor_content")
    t.ClearField(field)
    getattr(t, field).extend(values)
    n = graph.node.add(name=name, op="Const")
    n.attr["dtype"].type = t.dtype
    n.attr["value"].tensor.CopyFrom(t)


def frozen(path):
    graph = tf.Graph()
    with graph.as_default():
        for label in LABELS:
            tf.constant(noise(3, 4, dtype=label), name=f"content/{label}")
            tf.constant(numpy.ones((5, 2), dtype=label), name=f"one_value/{label}")
            tf.constant(noise(dtype=label), name=f"scalar/{label}")
        tf.constant(numpy.zeros((0, 3), "float32"), name="empty")
        tf.constant(numpy.zeros((4, 4), "float32"), name="zeros")
        tf.constant(["text", "is not listed"], name="text")
        kernel = noise(4, 6)

        @tf.function
        def inner(x):
            return x @ tf.constant(kernel, name="kernel")

        @tf.function
        def loop(x):
            return tf.while_loop(lambda v: tf.reduce_sum(v) < 9, lambda v: [v + tf.constant(noise(2, 4), name="step")], [x])

        inner(tf.compat.v1.placeholder(tf.float32, [2, 4], name="x"))
        loop(tf.compat.v1.placeholder(tf.float32, [2, 4], name="y"))
    graph = graph.as_graph_def()
    values = noise(7, 3)
    typed(graph, "typed/float", values, "float_val", values.ravel())
    values = numpy.repeat(noise(10), [1] * 9 + [12]).astype("float32")
    typed(graph, "typed/last_repeats", values, "float_val", values[:10])
    values = noise(9, dtype="int64")
    typed(graph, "typed/int64", values, "int64_val", values)
    values = noise(9, dtype="int16")
    typed(graph, "typed/int16", values, "int_val", values)
    values = noise(9, dtype="float16")
    typed(graph, "typed/half", values, "half_val", values.view("uint16"))
    values = noise(9, dtype="bfloat16")
    typed(graph, "typed/bfloat16", values, "half_val", values.view("uint16"))
    path.write_bytes(graph.SerializeToString(deterministic=True))
    expect(path, graph_entries(graph))
    small = tf.compat.v1.GraphDef()
    small.node.extend([n for n in graph.node if n.name in ("content/float32", "one_value/float16", "typed/last_repeats")])
    small.library.function.extend([f for f in graph.library.function if "inner" in f.signature.name and len(f.node_def) < 9][:1])
    path = path.with_name("small.pb")
    path.write_bytes(small.SerializeToString(deterministic=True))
    expect(path, graph_entries(small))


class Module(tf.Module):
    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(noise(4, 3), name="kernel")
        self.bias = tf.Variable(noise(3, dtype="bfloat16"), name="bias")

    @tf.function(input_signature=[tf.TensorSpec([None, 4])])
    def __call__(self, x):
        return x @ self.kernel * tf.constant(TABLE, name="table")


TABLE = noise(3)


def index_entries(prefix):
    r = tf.train.load_checkpoint(str(prefix))
    # The operator, unlike the reader, puts sliced variables together.
    return [entry(n, tf.raw_ops.RestoreV2(prefix=str(prefix), tensor_names=[n], shape_and_slices=[""], dtypes=[t])[0].numpy())
            for n, t in r.get_variable_to_dtype_map().items() if t != tf.string]


def saved_model(out):
    tf.saved_model.save(Module(), str(out))
    for extra in ("assets", "fingerprint.pb"):
        p = out / extra
        shutil.rmtree(p) if p.is_dir() else p.unlink()
    model = saved_model_pb2.SavedModel.FromString((out / "saved_model.pb").read_bytes())
    expect(out / "saved_model.pb", [e for m in model.meta_graphs for e in graph_entries(m.graph_def)])
    expect(out / "variables/variables.index", index_entries(out / "variables/variables"))


NEW = ("bfloat16", "float8_e5m2", "float8_e4m3fn", "uint32", "uint64")  # types that version 1 does not save


def saver(out, version, name):
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        for label in LABELS:
            if version == 2 or label not in NEW:
                v1.get_variable(f"types/{label}", initializer=tf.constant(noise(3, 4, dtype=label)), use_resource=version == 2)
        v1.get_variable("zeros", initializer=tf.zeros([200, 9]), use_resource=version == 2)  # worth compressing
        v1.get_variable("cut", shape=[7, 4], partitioner=v1.fixed_size_partitioner(3), use_resource=version == 2)
        v1.get_variable("cut_wide", shape=[3, 8], partitioner=v1.fixed_size_partitioner(2, axis=1), use_resource=version == 2)
        v1.get_variable("scalar", initializer=tf.constant(3.5), use_resource=version == 2)
        with v1.Session() as s:
            s.run(v1.global_variables_initializer())
            path = out / name
            v1.train.Saver(write_version=version).save(s, str(path), write_meta_graph=False, write_state=False)
    table = path.with_name(name + ".index") if version == 2 else path
    expect(table, index_entries(path))
    # TensorFlow reads compressed blocks and writes none.
    short = path.with_name("snappy_" + name)
    packed = table.with_name("snappy_" + table.name)
    packed.write_bytes(compressed(table.read_bytes()))
    if version == 2:
        shutil.copy(out / f"{name}.data-00000-of-00001", out / f"snappy_{name}.data-00000-of-00001")
    expect(packed, index_entries(short))


def varint(b, i):
    v = shift = 0
    while True:
        v |= (b[i] & 127) << shift
        i, shift = i + 1, shift + 7
        if b[i - 1] < 128:
            return v, i


def number(v):
    out = b""
    while v > 127:
        out, v = out + bytes([v & 127 | 128]), v >> 7
    return out + bytes([v])


CRC = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    CRC.append(n)


def checksum(data):
    """CRC-32C, masked as LevelDB does."""
    crc = 0xFFFFFFFF
    for b in data:
        crc = CRC[(crc ^ b) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(4, "little")


def compressed(table):
    """The table with all its blocks compressed by Snappy."""
    out = b""

    def put(block):
        nonlocal out
        packed = bytes(cramjam.snappy.compress_raw(block)) + b"\x01"
        handle = number(len(out)) + number(len(packed) - 1)
        out += packed + checksum(packed)
        return handle

    footer, handles, i = table[-48:], [], 0
    for _ in range(2):
        offset, i = varint(footer, i)
        size, i = varint(footer, i)
        handles.append((offset, size))
    index, i, entries = table[handles[1][0]:sum(handles[1])], 0, []
    end = len(index) - 4 - 4 * int.from_bytes(index[-4:], "little")
    while i < end:
        shared, i = varint(index, i)
        own, i = varint(index, i)
        length, i = varint(index, i)
        key, value = index[i:i + own], index[i + own:i + own + length]
        i += own + length
        assert not shared
        offset, j = varint(value, 0)
        size, _ = varint(value, j)
        entries.append((key, put(table[offset:offset + size])))
    meta = put(table[handles[0][0]:sum(handles[0])])
    block = b"".join(number(0) + number(len(k)) + number(len(h)) + k + h for k, h in entries)
    handles = meta + put(block + bytes(4) + b"\x01\0\0\0")
    return out + handles.ljust(40, b"\0") + footer[40:]


def main(out):
    out = pathlib.Path(out)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    tf.random.set_seed(1)
    frozen(out / "frozen.pb")
    saved_model(out / "saved_model")
    saver(out, 1, "old.ckpt")
    saver(out, 2, "new.ckpt")


main(sys.argv[1])
