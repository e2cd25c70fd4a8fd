"""Writes small MessagePack files by Flax.

usage: fixtures_flax.py OUT_DIR

Each NAME.msgpack has a NAME.msgpack.expect.json beside it. Needs requirements-flax.txt.
"""
import hashlib
import json
import pathlib
import sys

import flax.serialization
import ml_dtypes
import numpy

RNG = numpy.random.default_rng(12)
LABELS = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32", "int8": "I8",
          "uint8": "U8", "bool": "BOOL", "complex64": "C64", "float8_e4m3fn": "F8_E4M3"}


def noise(*shape, dtype="float32"):
    return (RNG.standard_normal(shape) * 50).astype(dtype)


def leaves(path, tree):
    for key, v in tree.items():
        name = f"{path}/{key}" if path else key
        if isinstance(v, dict):
            yield from leaves(name, v)
        elif hasattr(v, "dtype"):
            yield name, numpy.asarray(v)


def write(path, tree):
    data = flax.serialization.msgpack_serialize(tree)
    path.write_bytes(data)
    found = [{"name": n, "dtype": LABELS[a.dtype.name], "shape": list(a.shape), "sha256": hashlib.sha256(a.tobytes("C")).hexdigest()} for n, a in leaves("", tree)]
    lines = [json.dumps(e) for e in sorted(found, key=lambda e: e["name"])]
    pathlib.Path(f"{path}.expect.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    write(out / "model.msgpack", {
        "params": {f"Dense_{i}": {"kernel": noise(8, 6), "bias": noise(6)} for i in range(20)} | {"embed": {"embedding": noise(40, 8, dtype=ml_dtypes.bfloat16)}},
        "step": numpy.int64(7), "lr": 0.5, "name": "run", "negative": -3, "nothing": None})
    write(out / "types.msgpack", {d: noise(3, 5, dtype=d) for d in LABELS if d not in ("bfloat16", "float8_e4m3fn", "bool")} |
          {"bfloat16": noise(3, 5, dtype=ml_dtypes.bfloat16), "float8_e4m3fn": noise(3, 5, dtype=ml_dtypes.float8_e4m3fn), "bool": noise(3, 5) > 0})
    flax.serialization.MAX_CHUNK_SIZE = 4096  # a gibibyte is too large to keep
    write(out / "chunked.msgpack", {"small": noise(4), "large": noise(70, 50), "deep": {"last": noise(3000, dtype="float16")}})


main(pathlib.Path(sys.argv[1]))
