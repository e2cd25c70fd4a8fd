"""Writes small .npy and .npz files by numpy.

usage: fixtures_numpy.py OUT_DIR
"""
import pathlib
import sys

import numpy

import save

RNG = numpy.random.default_rng(3)
TYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1", "c8", "c16"]


def entry(name, a):
    label = save.NUMPY[a.dtype.newbyteorder("=").name]
    little = numpy.ascontiguousarray(a).astype(a.dtype.newbyteorder("<"), copy=False)
    return save.entry(name, label, a.shape, little.tobytes(order="C"))


def write(path, a, version=None):
    with open(path, "wb") as f:
        numpy.lib.format.write_array(f, a, version=version)
    save.expect(path, [entry("", numpy.load(path, allow_pickle=False))])


def sample(kind, shape=(3, 5)):
    if kind[0] == "c":
        return (RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)).astype(kind)
    return (RNG.standard_normal(shape) * 50).astype(kind)


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for kind in TYPES:
        write(out / f"{kind}.npy", sample(kind))
    write(out / "big_endian.npy", sample("f4").astype(">f4"))
    write(out / "fortran.npy", numpy.asfortranarray(sample("f4", (4, 6))))
    write(out / "version2.npy", sample("f4"), (2, 0))
    write(out / "version3.npy", sample("f4"), (3, 0))
    write(out / "scalar.npy", numpy.float32(2.5).reshape(()))
    write(out / "empty.npy", numpy.zeros((0, 4), numpy.float32))
    arrays = {"layer/weight": sample("f4", (8, 16)), "bias": sample("f2", (16,)), "t": numpy.asfortranarray(sample("f8"))}
    for name, save_npz in (("stored", numpy.savez), ("deflated", numpy.savez_compressed)):
        path = out / f"{name}.npz"
        save_npz(path, **arrays)
        loaded = numpy.load(path)
        save.expect(path, [entry(k, loaded[k]) for k in loaded.files])
    object_array(out / "object.npy")


def object_array(path):
    """A pickle inside: numpy reads it only when told to; nothing is expected."""
    with open(path, "wb") as f:
        numpy.lib.format.write_array(f, numpy.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    save.expect(path, [])


main()
