"""Writes small HDF5 and .keras files by h5py.

usage: fixtures_hdf5.py OUT_DIR

.keras is made by hand as keras.saving lays it out (config.json, metadata.json and
model.weights.h5 in a zip): Keras itself would bring TensorFlow along.
"""
import hashlib
import json
import pathlib
import sys
import zipfile

import h5py
import numpy

RNG = numpy.random.default_rng(4)
LABELS = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16",
          "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
          "complex64": "C64", "complex128": "C128"}


def entry(name, a):
    a = numpy.ascontiguousarray(a).reshape(a.shape)
    label = LABELS[a.dtype.newbyteorder("=").name]
    data = a.astype(a.dtype.newbyteorder("<"), copy=False).tobytes(order="C")
    return {"name": name, "dtype": label, "shape": list(a.shape), "sha256": hashlib.sha256(data).hexdigest()}


def entries(path):
    out = []
    with h5py.File(path, "r") as f:
        f.visititems(lambda name, o: out.append(entry(name, o[()])) if isinstance(o, h5py.Dataset) and o.size else None)
    return out


def expect(path, found):
    lines = [json.dumps(e) for e in sorted(found, key=lambda e: e["name"])]
    pathlib.Path(f"{path}.expect.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def noise(*shape, dtype="float32"):
    return (RNG.standard_normal(shape) * 50).astype(dtype)


def fill(f, latest):
    """The layouts, types and filters that h5py writes without plug-ins; in the new
    format data sets that grow along one axis are in arrays.h5."""
    for label in LABELS:
        f.create_dataset(f"types/{label}", data=noise(3, 4, dtype=label))
    f.create_dataset("types/big_endian", data=noise(3, 4, dtype=">f4"))
    f.create_dataset("scalar", data=numpy.float32(3.5))
    for i in range(20):  # more than fit one symbol node, and more than stay compact links
        f.create_dataset(f"many/layer_{i}/kernel", data=noise(2, i + 1))
        f.create_dataset(f"wide/w{i}", data=noise(i + 1))
    f.create_dataset("chunks/plain", data=noise(10, 7, 5), chunks=(4, 3, 5))
    f.create_dataset("chunks/deflate", data=noise(33, 17), chunks=(8, 5), compression="gzip")
    f.create_dataset("chunks/shuffle", data=noise(33, 17), chunks=(8, 5), compression="gzip", shuffle=True, fletcher32=True)
    f.create_dataset("chunks/one", data=noise(6, 6), chunks=(6, 6), compression="gzip")
    if not latest:
        f.create_dataset("chunks/growing", data=noise(9, 4), chunks=(2, 2), maxshape=(None, 4))
    f.create_dataset("chunks/growing_both", data=noise(9, 4), chunks=(2, 2), maxshape=(None, None))
    f.create_dataset("chunks/lzf", data=noise(40, 40).round(0), chunks=(16, 16), compression="lzf")
    f.create_dataset("empty", data=noise(0, 4))
    f["soft"] = h5py.SoftLink("/scalar")
    f["committed_type"] = numpy.dtype("float32")
    f.create_dataset("of_committed_type", data=noise(4), dtype=f["committed_type"])


def early(f, name, a, chunks, most):
    """A data set whose chunks lie where they are without an index."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(chunks)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    d = h5py.h5d.create(f.id, name.encode(), h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(a.shape, most), plist)
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, a)


def arrays(f):
    """Every index of chunks that the new format has, of shapes that may grow or not."""
    f.create_dataset("growing/first", data=noise(9, 4), chunks=(2, 2), maxshape=(None, 4))
    f.create_dataset("growing/first_bounded", data=noise(9, 4), chunks=(2, 3), maxshape=(None, 11))
    f.create_dataset("growing/last", data=noise(5, 31), chunks=(2, 2), maxshape=(5, None))
    f.create_dataset("growing/middle", data=noise(3, 8, 5), chunks=(2, 3, 2), maxshape=(7, None, 5), compression="gzip", shuffle=True)
    f.create_dataset("growing/packed", data=noise(90, 4), chunks=(1, 4), maxshape=(None, 4), compression="gzip", fletcher32=True)
    f.create_dataset("growing/many", data=noise(3000), chunks=(1,), maxshape=(None,))
    d = f.create_dataset("growing/holes", shape=(200_001,), dtype="float32", chunks=(1,), maxshape=(None,))
    for i in (0, 3, 4, 19, 20, 1000, 66_000, 140_000, 199_999, 200_000):
        d[i] = i + 0.5
    f.create_dataset("fixed/whole", data=noise(9, 4), chunks=(2, 2))
    f.create_dataset("fixed/may_grow", data=noise(9, 4), chunks=(2, 2), maxshape=(20, 9))
    f.create_dataset("fixed/packed", data=noise(9, 4), chunks=(2, 2), maxshape=(20, 9), compression="gzip")
    d = f.create_dataset("fixed/pages", shape=(5000,), dtype="float32", chunks=(1,))
    for i in (0, 1023, 1024, 3500, 4999):
        d[i] = i + 0.5
    f.create_dataset("one/plain", data=noise(6, 6), chunks=(6, 6))
    f.create_dataset("one/packed", data=noise(6, 6), chunks=(6, 6), compression="gzip")
    early(f, "implicit_whole", noise(9, 4), (2, 2), (9, 4))
    early(f, "implicit_may_grow", noise(9, 4), (2, 2), (12, 10))
    f.create_dataset("tree", data=noise(40, 40), chunks=(2, 2), maxshape=(None, None), compression="gzip")


def write(path, **options):
    with h5py.File(path, "w", **options) as f:
        fill(f, options.get("libver") == "latest")
    expect(path, entries(path))


def keras(out):
    weights = out / "model.weights.h5"
    with h5py.File(weights, "w") as f:
        for layer, shapes in {"dense": [(8, 4), (4,)], "dense_1": [(4, 2), (2,)]}.items():
            for i, s in enumerate(shapes):
                f.create_dataset(f"layers/{layer}/vars/{i}", data=noise(*s))
        f.create_dataset("optimizer/vars/0", data=numpy.int64(7))
    found = entries(weights)
    with zipfile.ZipFile(out / "model.keras", "w") as z:
        for name, data in {"metadata.json": b'{"keras_version": "3.9.0"}', "config.json": b'{"class_name": "Sequential"}',
                           "model.weights.h5": weights.read_bytes()}.items():
            z.writestr(zipfile.ZipInfo(name), data)
    weights.unlink()
    expect(out / "model.keras", found)


def huge(out):
    """The first bytes of a file with a data set of 100 GiB, which a test continues
    with a hole."""
    path = out / "huge.h5"
    with h5py.File(path, "w") as f:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        h5py.h5d.create(f.id, b"weights", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((25, 1 << 30)), plist)
    with open(path, "rb") as f:
        head = f.read(4096)
    path.unlink()
    (out / "huge.head").write_bytes(head)


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    write(out / "earliest.h5")
    write(out / "latest.h5", libver="latest")
    write(out / "user_block.h5", userblock_size=1024)
    with h5py.File(out / "arrays.h5", "w", libver="latest") as f:
        arrays(f)
    expect(out / "arrays.h5", entries(out / "arrays.h5"))
    with h5py.File(out / "small_arrays.h5", "w", libver="latest") as f:
        f.create_dataset("growing", data=noise(70, 2), chunks=(1, 2), maxshape=(None, 2))
        f.create_dataset("fixed", data=noise(5, 4), chunks=(2, 2), maxshape=(6, 8), compression="gzip")
    expect(out / "small_arrays.h5", entries(out / "small_arrays.h5"))
    for libver in ("earliest", "latest"):
        path = out / f"small_{libver}.h5"
        with h5py.File(path, "w", libver=libver) as f:
            f.create_dataset("group/contiguous", data=noise(2, 3))
            f.create_dataset("group/chunks", data=noise(5, 4), chunks=(2, 3), compression="gzip", shuffle=True)
        expect(path, entries(path))
    with h5py.File(out / "links.h5", "w") as f:
        f["outside"] = h5py.ExternalLink("earliest.h5", "/scalar")
        f.create_dataset("inside", data=noise(3))
        f.create_dataset("external", (4,), "float32", external=[("other.raw", 0, 16)])
        layout = h5py.VirtualLayout((4,), "float32")
        layout[:] = h5py.VirtualSource("earliest.h5", "scalar", (4,))
        f.create_virtual_dataset("virtual", layout)
    keras(out)
    huge(out)


main()
