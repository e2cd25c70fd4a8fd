"""Holds the decoders against the formats' own libraries on files of random make.

usage: oracle.py LISTER [SEED [ROUNDS]]

LISTER is the program of testdata/gen/oracle. Every round writes files by the
safetensors, gguf, onnx, numpy, h5py, zarr and tensorstore packages with random names, types, shapes,
orders and options, lists them with LISTER, and compares names, types, shapes and
the SHA-256 of every tensor's little-endian row-major bytes with what was written
and what the library reads back. It needs no torch: pip install -r requirements.txt.
"""
import hashlib
import json
import pathlib
import random
import string
import subprocess
import sys
import tempfile

import gguf
import h5py
import ml_dtypes
import numcodecs
import numpy
import onnx
import safetensors
import tensorstore
import zarr
from onnx import TensorProto, helper
from onnx.external_data_helper import convert_model_to_external_data
from safetensors.numpy import save_file

PLAIN = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
         "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL"}
COMPLEX = {"complex64": "C64", "complex128": "C128"}
SMALL = {"bfloat16": (ml_dtypes.bfloat16, "BF16"), "float8_e4m3fn": (ml_dtypes.float8_e4m3fn, "F8_E4M3"),
         "float8_e5m2": (ml_dtypes.float8_e5m2, "F8_E5M2")}


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.n = numpy.random.default_rng(seed)

    def name(self, used):
        while True:
            s = "".join(self.r.choices(string.ascii_letters + "._-é中", k=self.r.randint(1, 40)))
            if s.strip(".") and ".." not in s and s not in used:  # onnx refuses it as a file
                return s

    def shape(self, most=4):
        return tuple(self.r.randint(1, 9) for _ in range(self.r.randint(0, most)))

    def bytes_as(self, shape, dtype):
        """Any bit pattern there is, NaNs of all kinds included."""
        dtype = numpy.dtype(dtype)
        n = int(numpy.prod(shape, dtype=int)) * dtype.itemsize
        top = 2 if dtype == bool else 256
        return numpy.frombuffer(self.n.integers(0, top, n, dtype=numpy.uint8).tobytes(), dtype).reshape(shape)

    def arrays(self, kinds, most=4):
        out = {}
        for _ in range(self.r.randint(1, 20)):
            out[self.name(out)] = self.bytes_as(self.shape(most), self.r.choice(kinds))
        return out


def entry(label, shape, data):
    return (label, tuple(int(x) for x in shape), hashlib.sha256(data).hexdigest())


def of_array(a):
    label = (PLAIN | COMPLEX).get(a.dtype.newbyteorder("=").name) or SMALL[a.dtype.name][1]
    little = a if a.dtype.name in SMALL else a.astype(a.dtype.newbyteorder("<"))
    return entry(label, a.shape, little.tobytes(order="C"))


def make_safetensors(m, path):
    a = m.arrays(list(PLAIN) + ["complex64"] + [t for t, _ in SMALL.values()])
    save_file(a, path, {"k": "v"} if m.r.random() < 0.5 else None)
    with safetensors.safe_open(path, "np") as f:
        assert set(f.keys()) == set(a)
    return {k: of_array(v) for k, v in a.items()}


def make_gguf(m, path):
    order = m.r.choice([gguf.GGUFEndian.LITTLE, gguf.GGUFEndian.BIG])
    w = gguf.GGUFWriter(path, "llama", endianess=order)
    w.add_array("words", ["a"] * m.r.randint(1, 50))
    for k, v in m.arrays(["float64", "float32", "float16", "int64", "int32", "int16", "int8"]).items():
        w.add_tensor(k, v if v.shape else v.reshape(1))
    if order == gguf.GGUFEndian.LITTLE:
        for t in m.r.sample(list(gguf.GGML_QUANT_SIZES), 8):
            block, size = gguf.GGML_QUANT_SIZES[t]
            if block > 1 and t != gguf.GGMLQuantizationType.Q8_1:  # the package has its size wrong
                w.add_tensor("q." + t.name, m.n.integers(0, 256, (m.r.randint(1, 5), 2 * size), dtype=numpy.uint8), raw_dtype=t)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    out = {}
    for t in gguf.GGUFReader(path).tensors:
        data = t.data
        if order == gguf.GGUFEndian.BIG:
            data = data.astype(data.dtype.newbyteorder("<"))
        out[t.name] = entry(t.tensor_type.name, reversed(t.shape.tolist()), numpy.ascontiguousarray(data).tobytes())
    return out


def make_onnx(m, path):
    tensors, out = [], {}
    for k, v in m.arrays(list(PLAIN) + list(COMPLEX) + [t for t, _ in SMALL.values()]).items():
        t = onnx.numpy_helper.from_array(v, k)
        if m.r.random() < 0.5:  # the same values in the fields of their type
            t = helper.make_tensor(k, t.data_type, v.shape, v.flatten().tolist() if v.dtype.name not in SMALL else v.flatten())
        tensors.append(t)
        out[k] = of_array(onnx.numpy_helper.to_array(t))
    nodes, initializers = [], []
    for t in tensors:
        where = m.r.random()
        if where < 0.6:
            initializers.append(t)
            continue
        node = helper.make_node("Constant", [], [t.name], value=t)
        if where < 0.8:  # in a branch of an If
            branch = helper.make_graph([node], "b", [], [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))])
            node = helper.make_node("If", ["c"], ["out_" + t.name], then_branch=branch, else_branch=helper.make_graph([], "e", [], []))
        nodes.append(node)
    model = helper.make_model(helper.make_graph(nodes, "g", [], [], initializers))
    if m.r.random() < 0.4:
        convert_model_to_external_data(model, all_tensors_to_one_file=m.r.random() < 0.5, location=path.name + ".data", size_threshold=0)
    onnx.save(model, path)
    return out


def make_npy(m, path):
    a = m.bytes_as(m.shape(), m.r.choice(list(PLAIN) + list(COMPLEX)))
    if m.r.random() < 0.5:
        a = numpy.asfortranarray(a)
    if m.r.random() < 0.3:
        a = a.astype(a.dtype.newbyteorder(">"))
    numpy.save(path, a)
    return {"": of_array(numpy.load(path))}


def make_h5(m, path):
    with h5py.File(path, "w", libver=m.r.choice(["earliest", "latest"])) as f:
        for k, v in m.arrays(list(PLAIN) + list(COMPLEX), most=3).items():
            options = {}
            if v.shape and m.r.random() < 0.6:
                options = {"chunks": tuple(m.r.randint(1, d) for d in v.shape), "shuffle": m.r.random() < 0.5,
                           "compression": m.r.choice([None, "gzip", "lzf"]), "fletcher32": m.r.random() < 0.3}
            f.create_dataset(m.r.choice(["", "a/", "a/b/"]) + "d" + k.replace(".", "_"), data=v, **options)
        out = {}
        f.visititems(lambda k, o: out.update({k: of_array(o[()])}) if isinstance(o, h5py.Dataset) else None)
    return out


def make_zarr(m, path):
    """One array of version 2 or 3 in a folder."""
    v = m.bytes_as(m.shape(), m.r.choice(list(PLAIN) + list(COMPLEX)))
    c, version, options = zarr.codecs, m.r.choice([2, 3]), {}
    chunks = tuple(m.r.randint(1, d) for d in v.shape)
    if version == 3:
        options["compressors"] = m.r.choice([None, c.ZstdCodec(), c.GzipCodec(), c.BloscCodec(cname="lz4", shuffle="shuffle"), c.Crc32cCodec()])
        if v.shape and m.r.random() < 0.4:
            options["shards"] = tuple(n * m.r.randint(1, 3) for n in chunks)
        elif v.shape and m.r.random() < 0.4:
            options["filters"] = [c.TransposeCodec(order=tuple(m.r.sample(range(v.ndim), v.ndim)))]
        options["serializer"] = c.BytesCodec(endian=m.r.choice(["little", "big"]))
    else:
        options["compressors"] = m.r.choice([None, numcodecs.Zstd(), numcodecs.GZip(), numcodecs.BZ2(), numcodecs.Zlib(),
                                             numcodecs.Blosc(m.r.choice(["lz4", "zstd", "zlib"]), shuffle=m.r.choice([0, 1]))])
        options["order"] = m.r.choice(["C", "F"])
    z = zarr.create_array(path, shape=v.shape, dtype=v.dtype, chunks=chunks, zarr_format=version, **options)
    z[...] = v
    return {"array": of_array(numpy.asarray(zarr.open_array(path)[...]))}


def make_ocdbt(m, path):
    """A database of arrays, written in several versions."""
    path.mkdir()
    config = {"max_decoded_node_bytes": m.r.choice([400, 2000, 1 << 20]), "max_inline_value_bytes": m.r.choice([0, 50, 1000]),
              "compression": m.r.choice([None, {"id": "zstd"}]), "manifest_kind": m.r.choice(["single", "numbered"])}
    store = {"driver": "ocdbt", "base": f"file://{path}/", "config": config}
    out = {}
    for k, v in m.arrays(list(PLAIN) + list(COMPLEX) + [kind for kind, _ in SMALL.values()], most=3).items():
        driver = m.r.choice(["zarr", "zarr3"])
        grid = [m.r.randint(1, d) for d in v.shape]
        metadata = {"chunks": grid, "compressor": m.r.choice([None, {"id": "zstd"}])} if driver == "zarr" else {
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": grid}}}
        t = tensorstore.open({"driver": driver, "kvstore": {**store, "path": k + "/"}, "metadata": metadata}, create=True,
                             dtype=v.dtype, shape=v.shape).result()
        t.write(v).result()
        out[k] = of_array(numpy.asarray(t.read().result()))
    return out


def opened(path):
    """The file of a model that is a folder."""
    return next((path / n for n in ("manifest.ocdbt", ".zarray", "zarr.json") if (path / n).exists()), path)


MAKERS = {".safetensors": make_safetensors, ".gguf": make_gguf, ".onnx": make_onnx, ".npy": make_npy, ".h5": make_h5,
          ".zarr": make_zarr, ".ocdbt": make_ocdbt}


def listed(lister, path):
    out, odd = {}, []
    for line in subprocess.run([lister, str(path)], check=True, capture_output=True, text=True).stdout.splitlines():
        o = json.loads(line)
        if o.get("error") or o.get("finding", {"Severity": "info"})["Severity"] != "info":
            odd.append(o.get("error") or o["finding"])
        if o.get("dtype"):
            out[o["name"]] = (o["dtype"], tuple(o["shape"] or ()), o.get("sha256"))
    return out, odd


def main():
    lister = sys.argv[1]
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 40
    checked, wrong = {}, 0
    with tempfile.TemporaryDirectory() as tmp:
        for i in range(rounds):
            for ext, make in MAKERS.items():
                path = pathlib.Path(tmp) / f"{i}{ext}"
                want = make(Maker(seed * 100003 + i), path)
                got, odd = listed(lister, opened(path))
                checked[ext] = checked.get(ext, 0) + len(want)
                if got != want or odd:
                    wrong += 1
                    print(f"{ext} round {i}: findings {odd[:3]}")
                    for k in sorted(set(got) | set(want)):
                        if got.get(k) != want.get(k):
                            print(f"  {k!r}: read {got.get(k)}, want {want.get(k)}")
    print(f"seed {seed}, {rounds} files of each format; tensors compared: {checked}; files that differ: {wrong}")
    sys.exit(wrong > 0)


main()
