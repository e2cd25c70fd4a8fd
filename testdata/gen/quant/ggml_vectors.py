"""Writes testdata/quant/ggml/TYPE.packed and TYPE.f32: blocks of every ggml type
and the numbers that ggml's own reference dequantiser makes of them.

Half of the blocks come from ggml's quantiser over heavy-tailed numbers, half are
random bytes, so that every code and scale occurs. The functions are those of
libggml-base as it comes with PyPI's llama-cpp-python (0.3.36 when the committed
files were made), called through ctypes:

    python ggml_vectors.py path/to/libggml-base.so ../../quant/ggml

Q8_1 has no dequantiser in ggml and no file here. The interleaved types are the
repacking of ggml-cpu/repack.cpp written out in numpy, over blocks of Q4_0 and
IQ4_NL.
"""
import ctypes
import pathlib
import sys

import numpy as np

# Name, type id, numbers and bytes of a block.
TYPES = [
    ("Q4_0", 2, 32, 18), ("Q4_1", 3, 32, 20), ("Q5_0", 6, 32, 22), ("Q5_1", 7, 32, 24),
    ("Q8_0", 8, 32, 34), ("Q2_K", 10, 256, 84), ("Q3_K", 11, 256, 110), ("Q4_K", 12, 256, 144),
    ("Q5_K", 13, 256, 176), ("Q6_K", 14, 256, 210), ("Q8_K", 15, 256, 292), ("IQ2_XXS", 16, 256, 66),
    ("IQ2_XS", 17, 256, 74), ("IQ3_XXS", 18, 256, 98), ("IQ1_S", 19, 256, 50), ("IQ4_NL", 20, 32, 18),
    ("IQ3_S", 21, 256, 110), ("IQ2_S", 22, 256, 82), ("IQ4_XS", 23, 256, 136), ("IQ1_M", 29, 256, 56),
    ("TQ1_0", 34, 256, 54), ("TQ2_0", 35, 256, 66), ("MXFP4", 39, 32, 17), ("NVFP4", 40, 64, 36),
    ("Q1_0", 41, 128, 18), ("Q2_0", 42, 64, 18),
]
# Name, source type, rows in a group, bytes of a run, mask of the nibbles.
INTERLEAVED = [
    ("Q4_0_4_4", "Q4_0", 4, 4, 0x88), ("Q4_0_4_8", "Q4_0", 4, 8, 0x88), ("Q4_0_8_8", "Q4_0", 8, 8, 0x88),
    ("IQ4_NL_4_4", "IQ4_NL", 4, 4, 0), ("IQ4_NL_8_8", "IQ4_NL", 8, 8, 0),
]
lib = ctypes.CDLL(sys.argv[1])
out = pathlib.Path(sys.argv[2])
rng = np.random.default_rng(20261122)
P = ctypes.c_void_p


def quantise(name, type_id, x, size):
    """x is a matrix of float32; returns its rows' packed bytes."""
    packed = np.zeros(x.shape[0] * size, dtype=np.uint8)
    if name == "Q8_K":
        lib.quantize_row_q8_K_ref(P(x.ctypes.data), P(packed.ctypes.data), ctypes.c_int64(x.size))
        return packed
    weight = (x[:1] ** 2 + 0.01).astype(np.float32).copy()
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    n = lib.ggml_quantize_chunk(type_id, P(x.ctypes.data), P(packed.ctypes.data), ctypes.c_int64(0),
                                ctypes.c_int64(x.shape[0]), ctypes.c_int64(x.shape[1]), P(weight.ctypes.data))
    assert n == packed.size, (name, n, packed.size)
    return packed


def dequantise(name, packed, count):
    y = np.zeros(count, dtype=np.float32)
    f = getattr(lib, "dequantize_row_" + (name if name.endswith("_K") else name.lower()).replace("Q", "q"))
    f(P(packed.ctypes.data), P(y.ctypes.data), ctypes.c_int64(count))
    return y


def write(name, packed, y):
    (out / (name + ".packed")).write_bytes(packed.tobytes())
    (out / (name + ".f32")).write_bytes(y.tobytes())


def interleave(source, rows, run, mask, packed, columns):
    """packed: blocks of rows x columns/32, each 2 bytes of scale and 16 of nibbles."""
    blocks = packed.reshape(rows, columns // 32, 18)
    parts = []
    for b in range(columns // 32):
        parts.append(blocks[:, b, :2].tobytes())
        for i in range(rows * 16 // run):
            at = 2 + i // rows * run
            parts.append((blocks[i % rows, b, at:at + run] ^ mask).tobytes())
    return np.frombuffer(b"".join(parts), dtype=np.uint8)


for name, type_id, per, size in TYPES:
    blocks = max(3, 256 // per)
    x = (rng.standard_t(4, (blocks, per)) * 0.02 + 0.002).astype(np.float32)
    noise = rng.integers(0, 256, blocks * size, dtype=np.uint8)
    packed = np.concatenate([quantise(name, type_id, x, size), noise])
    write(name, packed, dequantise(name, packed, 2 * blocks * per))

for name, source, rows, run, mask in INTERLEAVED:
    type_id = dict((t[0], t[1]) for t in TYPES)[source]
    x = (rng.standard_t(4, (rows, 64)) * 0.02).astype(np.float32)
    packed = np.zeros(rows * 2 * 18, dtype=np.uint8)
    for r in range(rows):
        packed[r * 36:(r + 1) * 36] = quantise(source, type_id, x[r:r + 1].reshape(2, 32).copy(), 18)
    write(name, interleave(source, rows, run, mask, packed, 64), dequantise(source, packed, rows * 64))
