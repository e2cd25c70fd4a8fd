"""Writes small safetensors files by the safetensors package.

usage: fixtures_safetensors.py OUT_DIR
"""
import ctypes
import json
import pathlib
import sys

import numpy
from safetensors import TensorSpec, serialize_file

import save

# Name in the package's API, name in the file, bytes an element.
DTYPES = [("float64", "F64", 8), ("float32", "F32", 4), ("float16", "F16", 2), ("bfloat16", "BF16", 2),
          ("float8_e4m3fn", "F8_E4M3", 1), ("float8_e5m2", "F8_E5M2", 1), ("float8_e8m0fnu", "F8_E8M0", 1),
          ("int64", "I64", 8), ("int32", "I32", 4), ("int16", "I16", 2), ("int8", "I8", 1), ("uint64", "U64", 8),
          ("uint32", "U32", 4), ("uint16", "U16", 2), ("uint8", "U8", 1), ("bool", "BOOL", 1), ("complex64", "C64", 8),
          ("float8_e4m3fnuz", "F8_E4M3FNUZ", 1), ("float8_e5m2fnuz", "F8_E5M2FNUZ", 1), ("float4_e2m1fn_x2", "F4", 1)]


def noise(n, seed, binary=False):
    a = numpy.random.default_rng(seed).integers(0, 2 if binary else 256, n, dtype=numpy.uint8)
    return a.tobytes()


def write(path, tensors, metadata=None):
    """tensors: name -> (api dtype, file dtype, shape, bytes)."""
    # TensorSpec takes addresses: the buffers live until the call is over.
    buffers = {n: ctypes.create_string_buffer(t[3], len(t[3])) for n, t in tensors.items()}
    specs = {n: TensorSpec(dtype=d, shape=s, data_ptr=ctypes.addressof(buffers[n]), data_len=len(b))
             for n, (d, _, s, b) in tensors.items()}
    serialize_file(specs, str(path), metadata)
    entries = []
    for n, (d, label, s, b) in tensors.items():
        shape = list(s)
        if label == "F4":
            shape[-1] *= 2  # the package counts pairs, the file counts elements
        entries.append(save.entry(n, label, shape, b))
    save.expect(path, entries)


def every_dtype(out):
    tensors = {}
    for i, (api, label, size) in enumerate(DTYPES):
        one = {"t": (api, label, (3, 4), noise(12 * size, i, label == "BOOL"))}
        try:
            write(out / "probe.safetensors", one)
        except Exception as err:  # the package says which types it cannot write
            print(f"safetensors: {api} not written: {err}")
            continue
        tensors[label.lower()] = one["t"]
    for p in out.glob("probe.safetensors*"):
        p.unlink()
    tensors["scalar"] = ("float32", "F32", (), noise(4, 90))
    tensors["empty"] = ("float32", "F32", (0, 4), b"")
    write(out / "dtypes.safetensors", tensors, {"format": "pt", "note": "größe \"quoted\"\n"})


def sharded(out):
    folder = out / "sharded"
    folder.mkdir(exist_ok=True)
    index, total, every = {}, 0, []
    for shard in range(3):
        name = f"model-{shard + 1:05d}-of-00003.safetensors"
        tensors = {f"layers.{shard}.{part}.weight": ("bfloat16", "BF16", (16, 32), noise(1024, 100 + 10 * shard + i))
                   for i, part in enumerate(("up", "down"))}
        write(folder / name, tensors, {"format": "pt"})
        index.update({t: name for t in tensors})
        total += 2048
        every += json.loads((folder / f"{name}.expect.json").read_text())
    index_path = folder / "model.safetensors.index.json"
    index_path.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2) + "\n")
    save.expect(index_path, every)


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    every_dtype(out)
    write(out / "names.safetensors", {n: ("float32", "F32", (2, 2), noise(16, i)) for i, n in enumerate(
        ["", "a b", "ümlaut", "quote\"d", "back\\slash", "../../etc/passwd", "new\nline", "x" * 300])})
    write(out / "one.safetensors", {"weight": ("float32", "F32", (64, 64), noise(16384, 7))})
    sharded(out)


main()
