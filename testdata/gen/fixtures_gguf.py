"""Writes small GGUF files by the gguf package.

usage: fixtures_gguf.py OUT_DIR

Types that the package can quantise hold quantised normal noise; the others
(K and IQ types) hold random blocks whose values are finite, which exercise
every code of the type. f32_sha256 is what the package's dequantiser makes of them.
"""
import pathlib
import struct
import sys

import gguf
import numpy

import save

T = gguf.GGMLQuantizationType
RNG = numpy.random.default_rng(9)
DEQUANTISED = sorted((t for t in gguf.quants._type_traits if t != T.BF16), key=int)
OPAQUE = [T.Q8_K, T.Q1_0]  # no dequantiser in the package


def quantised(kind, rows, columns):
    """Raw rows of a packed type."""
    values = RNG.standard_normal((rows, columns)).astype(numpy.float32)
    try:
        return gguf.quantize(values, kind)
    except NotImplementedError:
        return random_rows(kind, rows, columns)


def random_rows(kind, rows, columns):
    block, size = gguf.GGML_QUANT_SIZES[kind]
    out = numpy.empty((rows * columns // block, size), numpy.uint8)
    for i in range(len(out)):
        out[i] = random_block(kind, size)
    return out.reshape(rows, -1)


def random_block(kind, size):
    while True:
        b = RNG.integers(0, 256, (1, size), dtype=numpy.uint8)
        if kind in OPAQUE:
            return b
        with numpy.errstate(all="ignore"):
            values = gguf.dequantize(b, kind)
        if numpy.isfinite(values).all() and abs(values).max() < 1e4:
            return b


def fill(w):
    w.add_name("fixture")
    w.add_uint8("ww.u8", 200)
    w.add_int8("ww.i8", -100)
    w.add_uint16("ww.u16", 60000)
    w.add_int16("ww.i16", -30000)
    w.add_int64("ww.i64", -(1 << 40))
    w.add_uint64("ww.u64", 1 << 63)
    w.add_float32("ww.f32", 1.5)
    w.add_float64("ww.f64", -2.5)
    w.add_bool("ww.bool", True)
    w.add_string("ww.string", "größe \"quoted\"\n")
    w.add_array("ww.ints", [1, 2, 3])
    w.add_array("ww.strings", ["a", "", "bc"])


def plain(w):
    """Every unpacked type; F32 in one to four dimensions."""
    for name, shape in (("v", (48,)), ("m", (6, 32)), ("t", (2, 3, 8)), ("q", (2, 3, 4, 5))):
        w.add_tensor(f"f32.{name}", RNG.standard_normal(shape).astype(numpy.float32))
    w.add_tensor("f16", RNG.standard_normal((4, 32)).astype(numpy.float16))
    w.add_tensor("f64", RNG.standard_normal((4, 8)))
    for bits in (8, 16, 32, 64):
        w.add_tensor(f"i{bits}", RNG.integers(-100, 100, (3, 8)).astype(f"int{bits}"))


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def packed(path):
    w = gguf.GGUFWriter(str(path), "llama")
    w.add_tensor("bf16", gguf.quantize(RNG.standard_normal((4, 32)).astype(numpy.float32), T.BF16), raw_dtype=T.BF16)
    for kind in [*DEQUANTISED, *OPAQUE]:
        w.add_tensor(kind.name.lower(), quantised(kind, 4, 512), raw_dtype=kind)
    finish(w)
    save.expect(path, save.gguf_entries(path))


def versions(out):
    """Version 3, the same bytes as version 2, an alignment of 128, big-endian."""
    for name, endian, align in (("v3", gguf.GGUFEndian.LITTLE, 0), ("align128", gguf.GGUFEndian.LITTLE, 128), ("big_endian", gguf.GGUFEndian.BIG, 0)):
        path = out / f"{name}.gguf"
        w = gguf.GGUFWriter(str(path), "llama", endianess=endian)
        if align:
            w.add_custom_alignment(align)
        fill(w)
        plain(w)
        finish(w)
        save.expect(path, big_endian_entries(path) if endian == gguf.GGUFEndian.BIG else save.gguf_entries(path))
    raw = bytearray((out / "v3.gguf").read_bytes())
    raw[4:8] = struct.pack("<I", 2)
    (out / "v2.gguf").write_bytes(raw)
    save.expect(out / "v2.gguf", save.gguf_entries(out / "v2.gguf"))


def big_endian_entries(path):
    """The reader gives big-endian arrays; expectations are little-endian."""
    out = []
    for t in gguf.GGUFReader(str(path)).tensors:
        size = t.data.dtype.itemsize
        shape = list(reversed(t.shape.tolist()))
        little = t.data.astype(t.data.dtype.newbyteorder("<")) if size > 1 else t.data
        out.append(save.entry(t.name, t.tensor_type.name, shape, numpy.ascontiguousarray(little).tobytes()))
    return out


def split(out):
    """A set of three files, the first with no tensor."""
    folder = out / "split"
    folder.mkdir(exist_ok=True)
    w = gguf.GGUFWriter(str(folder / "set.gguf"), "llama", split_max_tensors=2, small_first_shard=True)
    w.add_name("fixture")
    for i in range(4):
        w.add_tensor(f"blk.{i}.weight", quantised(T.Q8_0, 4, 64), raw_dtype=T.Q8_0)
    finish(w)
    for path in sorted(folder.glob("*.gguf")):
        save.expect(path, save.gguf_entries(path))


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    versions(out)
    packed(out / "quantised.gguf")
    split(out)


main()
