"""Writes small Zarr arrays by zarr and TensorStore, and checkpoints by Orbax.

usage: fixtures_zarr.py OUT_DIR

Each NAME/ has a NAME.expect.json beside it: what the tools read back, tensor by
tensor. Needs requirements-zarr.txt.
"""
import hashlib
import json
import pathlib
import shutil
import sys

import ml_dtypes
import numpy
import numcodecs
import orbax.checkpoint
import tensorstore
import zarr

RNG = numpy.random.default_rng(11)
LABELS = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32", "int8": "I8",
          "uint8": "U8", "bool": "BOOL", "complex64": "C64", "float8_e4m3fn": "F8_E4M3"}


def noise(*shape, dtype="float32"):
    return (RNG.standard_normal(shape) * 50).astype(dtype)


def entry(name, a):
    a = numpy.asarray(a)
    data = numpy.ascontiguousarray(a.astype(a.dtype.newbyteorder("<"))).tobytes()
    return {"name": name, "dtype": LABELS[a.dtype.newbyteorder("=").name], "shape": list(a.shape), "sha256": hashlib.sha256(data).hexdigest()}


def expect(path, found):
    lines = [json.dumps(e) for e in sorted(found, key=lambda e: e["name"])]
    pathlib.Path(f"{path}.expect.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def tidy(out):
    """Removes what no reader of tensors looks at."""
    for f in out.rglob(".zattrs"):
        f.unlink()


def folder(out, name):
    path = out / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def version2(out):
    """Every compressor of version 2, both orders of axes and of bytes."""
    path = folder(out, "v2")
    blosc = numcodecs.Blosc
    kinds = {
        "raw": dict(compressor=None),
        "fortran": dict(compressor=None, order="F"),
        "zlib": dict(compressor=numcodecs.Zlib()),
        "gzip": dict(compressor=numcodecs.GZip(), order="F"),
        "bz2": dict(compressor=numcodecs.BZ2()),
        "zstd": dict(compressor=numcodecs.Zstd()),
        "lz4": dict(compressor=blosc("lz4")),
        "lz4hc": dict(compressor=blosc("lz4hc", shuffle=blosc.NOSHUFFLE)),
        "blosczlib": dict(compressor=blosc("zlib", shuffle=blosc.SHUFFLE)),
        "blosczstd": dict(compressor=blosc("zstd", shuffle=blosc.SHUFFLE)),
        "slash": dict(compressor=None, chunk_key_encoding={"name": "v2", "separator": "/"}),
    }
    found = []
    for name, how in kinds.items():
        a = numpy.round(noise(9, 7, 11))
        z = zarr.create_array(path / name, shape=a.shape, dtype=a.dtype, chunks=(5, 4, 11), zarr_format=2,
                              **{{"compressor": "compressors"}.get(k, k): v for k, v in how.items()})
        z[:] = a
        found.append(entry(name, zarr.open_array(path / name)[:]))
    for kind in (">f4", "<f2", "|b1", "<i8", "<c8"):
        a = noise(5, 6, dtype=kind if kind != "|b1" else "bool")
        z = zarr.create_array(path / f"type_{kind[1:]}", shape=a.shape, dtype=kind, chunks=(5, 4), zarr_format=2)
        z[:] = a
        found.append(entry(f"type_{kind[1:]}", zarr.open_array(path / f"type_{kind[1:]}")[:]))
    z = zarr.create_array(path / "holes", shape=(8, 8), dtype="float32", chunks=(2, 8), zarr_format=2, compressors=None)
    z[2:4] = noise(2, 8)
    found.append(entry("holes", zarr.open_array(path / "holes")[:]))
    z = zarr.create_array(path / "scalar", shape=(), dtype="float32", zarr_format=2, compressors=None)
    z[...] = 3.5
    found.append(entry("scalar", zarr.open_array(path / "scalar")[...]))
    expect(path, found)


def version3(out):
    """Codecs, shards and grids of version 3."""
    path = folder(out, "v3")
    c = zarr.codecs
    kinds = {
        "raw": dict(compressors=None),
        "gzip": dict(compressors=c.GzipCodec()),
        "zstd": dict(compressors=c.ZstdCodec(checksum=True)),
        "blosc": dict(compressors=c.BloscCodec(cname="zstd", shuffle="shuffle")),
        "crc": dict(compressors=c.Crc32cCodec()),
        "big": dict(compressors=None, serializer=c.BytesCodec(endian="big")),
        "transposed": dict(compressors=None, filters=[c.TransposeCodec(order=(1, 2, 0))]),
        "shards": dict(compressors=None, shards=(10, 4, 11)),
        "shards_zstd": dict(compressors=c.ZstdCodec(), shards=(10, 8, 11)),
        "dots": dict(compressors=None, chunk_key_encoding={"name": "default", "separator": "."}),
    }
    found = []
    for name, how in kinds.items():
        a = numpy.round(noise(9, 7, 11))
        z = zarr.create_array(path / name, shape=a.shape, dtype=a.dtype, chunks=(5, 4, 11), zarr_format=3, **how)
        z[:] = a
        found.append(entry(name, zarr.open_array(path / name)[:]))
    expect(path, found)


def database(out, name, **settings):
    """An OCDBT database whose tree has inner nodes, with several versions; the last
    one counts, and keeps what it does not replace."""
    path = folder(out, name)
    config = {"max_decoded_node_bytes": 1000, "max_inline_value_bytes": 60, "version_tree_arity_log2": 1, **settings}
    base = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{path}/", "config": config}).result()
    found = {}
    for version in range(4):
        batch = tensorstore.Transaction()
        for i, kind in enumerate(["float32", "bfloat16", "int32", "float8_e4m3fn", "int8", "float16"]):
            for driver in ("zarr", "zarr3"):
                if version and i % 2:
                    continue
                name = f"layer_{i}/{driver}/kernel"
                a = noise(6 + i, 10).astype(getattr(ml_dtypes, kind, kind))
                grid = {"chunks": [4, 5], "compressor": None} if driver == "zarr" else {
                    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 5]}},
                    "codecs": [{"name": "bytes"}, {"name": "zstd"}]}
                t = tensorstore.open({"driver": driver, "kvstore": "memory://", "metadata": grid}, create=True, dtype=a.dtype, shape=a.shape).result()
                t.write(a).result()
                for key in t.kvstore.list().result():
                    base.with_transaction(batch)[f"{name}/{key.decode()}"] = t.kvstore[key]
                found[name] = entry(name, t.read().result())
        batch.commit_sync()
    expect(path, found.values())


def orbax_checkpoint(out, name, **how):
    path = out / name
    shutil.rmtree(path, ignore_errors=True)
    tree = {"params": {"dense": {"kernel": noise(40, 24), "bias": noise(24)}, "embed": noise(64, 16).astype(ml_dtypes.bfloat16)},
            "step": numpy.full((), 7, "int32")}
    handler = orbax.checkpoint.PyTreeCheckpointHandler(**how)
    with orbax.checkpoint.Checkpointer(handler) as saver:
        saver.save(path.absolute(), tree)
        back = saver.restore(path.absolute())
    assert back["step"] == 7
    back["step"] = tree["step"]  # Orbax makes a Python number of it
    expect(path, [entry("params.dense.kernel", back["params"]["dense"]["kernel"]), entry("params.dense.bias", back["params"]["dense"]["bias"]),
                  entry("params.embed", back["params"]["embed"]), entry("step", back["step"])])


def main():
    out = pathlib.Path(sys.argv[1]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    version2(out)
    version3(out)
    database(out, "ocdbt")
    database(out, "numbered", manifest_kind="numbered", compression=None)
    orbax_checkpoint(out, "orbax_v2", use_ocdbt=True, use_zarr3=False)
    orbax_checkpoint(out, "orbax_v3", use_ocdbt=True, use_zarr3=True)
    orbax_checkpoint(out, "orbax_plain", use_ocdbt=False, use_zarr3=False)
    tidy(out)


main()
