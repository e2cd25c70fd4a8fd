"""Writes malformed and hostile files, and manifest.json that says what each is.

usage: malformed.py OUT_DIR PYTORCH_FIXTURE

The manifest has for each file: case (what is wrong, in words), outcome and
tensors. outcome is "error" (no model can be told), "finding" (a model with at
least one finding of severity warning, unread or danger) or "either". tensors
are names that a reader must still report, in no order; reporting more is fine.
Payloads of pickles would print a line if anyone were to load them.
"""
import io
import json
import pathlib
import pickle
import struct
import sys
import zipfile

ENTRIES = []


def put(out, name, data, case, outcome, tensors=()):
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    ENTRIES.append({"file": name, "case": case, "outcome": outcome, "tensors": list(tensors)})


# --- safetensors


def st(header, payload=b"", length=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + payload


def t(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors(out):
    good, pay = t([2, 4], 0, 32), bytes(range(64))
    def p(name, data, case, outcome, tensors=()):
        put(out, f"safetensors/{name}.safetensors", data, case, outcome, tensors)

    p("header_2_62", struct.pack("<Q", 1 << 62) + b'{"a":', "a header length of 2^62", "error")
    p("header_max", struct.pack("<Q", (1 << 64) - 1) + b'{"a":', "a header length of 2^64-1", "error")
    p("header_beyond_file", st({"a": good}, length=5000), "a header length beyond the end", "finding", ["a"])
    p("header_not_json", st(b"{" + b"x" * 60), "a header that is not JSON", "error")
    p("header_deep", st(b'{"a":' + b"[" * 20000), "a header nested 20,000 deep", "error")
    p("payload_truncated", st({"a": good, "b": t([2, 4], 32, 64)}, pay[:40]), "the file ends inside tensor b", "finding", ["a"])
    p("payload_trailing", st({"a": good}, pay), "32 bytes after the last tensor", "finding", ["a"])
    p("overlap", st({"a": good, "b": t([2, 4], 16, 48)}, pay[:48]), "two tensors share bytes", "finding", ["a", "b"])
    p("hole", st({"a": good, "b": t([2], 56, 64)}, pay), "24 bytes that no tensor claims", "finding", ["a", "b"])
    p("duplicate_name", st(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}', pay[:16]),
      "one name twice with other bytes", "finding", ["a"])
    p("leading_space", st(b"   " + json.dumps({"a": good}).encode(), pay[:32]), "white space before the header's brace", "either", ["a"])
    p("offsets_reversed", st({"a": t([2, 4], 32, 0)}, pay[:32]), "an extent that ends before it starts", "either")
    p("offsets_wrap", st({"a": t([2, 4], (1 << 64) - 16, 16)}, pay[:32]), "offsets that wrap around 2^64", "either")
    p("shape_overflow", st({"a": t([1 << 33, 1 << 33], 0, 32), "b": good}, pay[:32]), "a shape whose product wraps", "finding", ["b"])
    p("shape_negative", st({"a": t([-2, -4], 0, 32)}, pay[:32]), "negative axes", "either")
    p("shape_mismatch", st({"a": t([3, 4], 0, 32)}, pay[:32]), "a shape that needs more bytes than the extent", "either")
    p("dtype_unknown", st({"a": t([2, 4], 0, 32, "Q9")}, pay[:32]), "a dtype nobody knows", "finding", ["a"])
    p("float_offsets", st(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8.5]}}', pay[:16]), "a fraction as an offset", "either")


# --- gguf


def gs(s):
    raw = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(raw)) + raw


def gg(tensors, payload, version=3, kvs=(), n_tensors=None, n_kv=None):
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors) if n_tensors is None else n_tensors, len(kvs) if n_kv is None else n_kv)
    for key, kind, value in kvs:
        head += gs(key) + struct.pack("<I", kind) + value
    for name, dims, kind, offset in tensors:
        head += gs(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims) + struct.pack("<IQ", kind, offset)
    return head + b"\0" * (-len(head) % 32) + payload


def gguf(out):
    pay, one = bytes(range(128)), ("a", [8, 4], 0, 0)
    def p(name, data, case, outcome, tensors=()):
        put(out, f"gguf/{name}.gguf", data, case, outcome, tensors)

    p("four_bytes", b"GGUF", "the magic alone", "error")
    p("count_max", gg([one], pay, n_tensors=(1 << 64) - 1), "2^64-1 tensors", "either")
    p("kv_count_2_62", gg([one], pay, n_kv=1 << 62), "2^62 metadata entries", "either")
    p("string_2_63", gg([], b"", kvs=[]) [:16] + struct.pack("<Q", 1) + struct.pack("<Q", 1 << 63) + b"x" * 40, "a key of 2^63 bytes", "either")
    p("array_huge", gg([one], pay, kvs=[("k", 9, struct.pack("<IQ", 4, 1 << 60))]), "a metadata array of 2^60 numbers", "either")
    nested = b"".join(struct.pack("<IQ", 9, 1) for _ in range(5000)) + struct.pack("<IQB", 0, 1, 7)
    p("array_nested", gg([one], pay, kvs=[("k", 9, nested)]), "arrays nested 5,000 deep", "either")
    for value in (0, 13, 1 << 30):
        p(f"alignment_{value}", gg([one], pay, kvs=[("general.alignment", 4, struct.pack("<I", value))]), f"an alignment of {value}", "either")
    p("offset_beyond", gg([one, ("b", [8, 4], 0, 1 << 40)], pay), "tensor b lies beyond the end", "finding", ["a"])
    p("offset_wrap", gg([one, ("b", [8, 4], 0, (1 << 64) - 32)], pay), "an offset that wraps", "finding", ["a"])
    p("removed_type", gg([one, ("b", [32], 4, 128)], pay + pay), "type 4, which has no block size", "finding", ["a"])
    p("unknown_type", gg([one, ("b", [32], 999, 128)], pay + pay), "type 999", "finding", ["a", "b"])
    p("dims_overflow", gg([one, ("b", [1 << 33, 1 << 33], 0, 128)], pay + pay), "a shape whose product wraps", "finding", ["a"])
    p("dims_zero_block", gg([one, ("b", [7, 5], 8, 128)], pay + pay), "Q8_0 rows of 7", "finding", ["a"])
    p("dims_many", gg([one, ("b", [1] * 1000, 0, 128)], pay + pay), "a tensor of 1,000 axes", "either")
    p("duplicate_name", gg([one, ("a", [8, 4], 0, 128)], pay + pay), "one name twice", "finding", ["a"])
    p("overlap", gg([one, ("b", [8, 4], 0, 32)], pay + pay), "two tensors share bytes", "finding", ["a", "b"])
    p("truncated", gg([one, ("b", [8, 4], 0, 128)], pay), "the file ends before tensor b", "finding", ["a"])
    p("version_99", gg([one], pay, version=99), "version 99", "either")


# --- PyTorch


class Payload:
    def __reduce__(self):
        import os
        return os.system, ("echo this pickle ran",)


def members(source):
    with zipfile.ZipFile(source) as z:
        return [(i.filename, z.read(i)) for i in z.infolist()]


def pack(files, method=zipfile.ZIP_STORED):
    buf = io.BytesIO()
    with zipfile.ZipFile(buf, "w", method) as z:
        for name, data in files:
            z.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, method)
    return buf.getvalue()


def pytorch(out, fixture):
    files = members(fixture)
    raw = pathlib.Path(fixture).read_bytes()
    names = [e["name"] for e in json.loads(pathlib.Path(f"{fixture}.expect.json").read_text())]
    largest = max((n for n, _ in files), key=lambda n: len(dict(files)[n]) * ("/data/" in n))
    def p(name, data, case, outcome, tensors=()):
        put(out, f"pytorch/{name}", data, case, outcome, tensors)

    body = next(n for n, _ in files if n.endswith("data.pkl"))
    evil = pickle.dumps(Payload(), 2)
    p("system_call.pt", pack([(n, evil if n == body else d) for n, d in files]), "the pickle calls os.system", "finding")
    p("raw_pickle.pt", evil, "a bare pickle that calls os.system", "finding")
    p("pickle_named.safetensors", evil, "a pickle under another format's name", "finding")
    broken = dict(files)[body]
    p("broken_after.pt", pack([(n, d[:-1] + b"\xff" if n == body else d) for n, d in files]), "the pickle breaks at its last byte", "finding", names)
    p("deflated.pt", pack(files, zipfile.ZIP_DEFLATED), "members deflated, which torch never writes", "either", names)
    p("prefix.pt", b"#!/bin/sh\nexit 0\n" + raw, "17 bytes in front of the zip", "either")
    p("suffix.pt", raw + b"\0" * 100, "100 bytes behind the zip", "either")
    p("truncated.pt", raw[:len(raw) * 2 // 3], "the last third is missing, the zip directory with it", "either")
    p("duplicate.pt", pack([*files, (body, evil)]), "a second data.pkl", "finding")
    p("case_folded.pt", pack([*files, (body.replace("data.pkl", "DATA.PKL"), evil)]), "DATA.PKL beside data.pkl", "either", names)
    p("storage_short.pt", pack([(n, d[:5] if n == largest else d) for n, d in files]), "a storage shorter than the pickle says", "finding")
    p("storage_missing.pt", pack([(n, d) for n, d in files if n != largest]), "a storage that is not there", "finding")
    p("no_stop.pt", pack([(n, broken[:-1] if n == body else d) for n, d in files]), "a pickle without its end", "finding", names)
    patched_headers(p, raw)
    hostile_pickles(p)
    polyglot = st({"a": t([2, 4], 0, 32)}, bytes(range(32))) + raw
    p("polyglot.safetensors", polyglot, "a safetensors file followed by a PyTorch zip", "finding", ["a"])


def patched_headers(p, raw):
    """Fields that readers disagree about, changed in place."""
    def patch(offset, value, signature, every=True):
        data, at = bytearray(raw), raw.find(signature)
        while at >= 0:
            data[at + offset:at + offset + len(value)] = value
            at = raw.find(signature, at + 4) if every else -1
        return bytes(data)

    p("bad_crc.pt", patch(16, b"\xde\xad\xbe\xef", b"PK\x01\x02"), "wrong checksums in the directory", "either")
    p("encrypted_flag.pt", patch(8, b"\x01\x08", b"PK\x01\x02"), "members marked as encrypted that are not", "finding")
    p("size_2_32.pt", patch(20, b"\xf0\xff\xff\xff" * 2, b"PK\x01\x02"), "directory sizes near 2^32", "finding")
    p("local_renamed.pt", patch(30, b"other", b"PK\x03\x04"), "local names differ from the directory", "either")
    p("offset_beyond.pt", patch(42, b"\xf0\xff\xff\x7f", b"PK\x01\x02"), "members that start beyond the end", "either")


def hostile_pickles(p):
    proto = b"\x80\x02"
    p("marks.pkl", proto + b"(" * 100000 + b".", "100,000 marks", "either")
    p("memo_index.pkl", proto + b"]r\xff\xff\xff\x7f.", "a memo index of 2^31-1", "either")
    p("memo_missing.pkl", proto + b"h\x07.", "a memo entry that was never put", "either")
    laughs = proto + b"]q\x00" + b"".join(b"]q" + bytes([i]) + b"(" + (b"h" + bytes([i - 1])) * 10 + b"e" for i in range(1, 30)) + b"."
    p("laughs.pkl", laughs, "lists of ten of the list before, 30 deep", "either")
    p("long4.pkl", proto + b"\x8b\xff\xff\xff\x7f\x01.", "an integer of 2^31-1 bytes", "either")
    p("binbytes8.pkl", b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f" + b"x.", "a byte string of 2^63-1 bytes", "either")
    p("frame.pkl", b"\x80\x04\x95" + b"\xff" * 8 + b"N.", "a frame length that lies", "either")
    p("self_list.pkl", proto + b"]q\x00h\x00a.", "a list that holds itself", "either")
    p("dup.pkl", proto + b"N" + b"2" * 100000 + b".", "100,000 copies on the stack", "either")


# --- ONNX (wire format by hand)


def varint(n):
    out = b""
    while True:
        out += bytes([n & 127 | (128 if n > 127 else 0)])
        n >>= 7
        if not n:
            return out


def field(number, data):
    if isinstance(data, int):
        return varint(number << 3) + varint(data)
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name, dims, raw=b"", kind=1, extra=b""):
    return b"".join(field(1, d) for d in dims) + field(2, kind) + field(8, name.encode()) + (field(9, raw) if raw else b"") + extra


def onnx_file(tensors, nodes=b""):
    graph = nodes + field(2, b"g") + b"".join(field(5, x) for x in tensors)
    return field(1, 8) + field(2, b"weightwarden-testdata") + field(7, graph) + field(8, field(2, 21))


def outside(location, offset=None):
    pairs = [("location", location)] + ([("offset", str(offset))] if offset is not None else [])
    return b"".join(field(13, field(1, k.encode()) + field(2, v.encode())) for k, v in pairs) + field(14, 1)


def onnx(out):
    good = tensor("a", [2, 4], bytes(range(32)))
    def p(name, data, case, outcome, tensors=("a",)):
        put(out, f"onnx/{name}.onnx", data, case, outcome, tensors)

    p("raw_short", onnx_file([good, tensor("b", [4, 4], bytes(10))]), "fewer bytes than the shape needs", "finding")
    p("raw_long", onnx_file([good, tensor("b", [2], bytes(100))]), "more bytes than the shape needs", "finding")
    p("dims_negative", onnx_file([good, tensor("b", [(1 << 64) - 1, 4], bytes(16))]), "a negative axis", "finding")
    p("dims_overflow", onnx_file([good, tensor("b", [1 << 40, 1 << 40], bytes(16))]), "a shape whose product wraps", "finding")
    p("type_unknown", onnx_file([good, tensor("b", [4], bytes(16), kind=99)]), "element type 99", "finding")
    p("external_parent", onnx_file([good, tensor("b", [4], extra=outside("../../../etc/passwd"))]), "external data outside the folder", "finding")
    p("external_absolute", onnx_file([good, tensor("b", [4], extra=outside("/etc/passwd"))]), "external data at an absolute path", "finding")
    p("external_missing", onnx_file([good, tensor("b", [4], extra=outside("nowhere.bin"))]), "external data that is not there", "finding")
    p("external_offset", onnx_file([good, tensor("b", [4], extra=outside("raw_short.onnx", (1 << 63) - 8))]), "external data beyond the file's end", "finding")
    p("truncated", onnx_file([good, tensor("b", [64], bytes(256))])[:-200], "the file ends inside tensor b", "finding")
    p("length_2_63", onnx_file([good]) + varint(7 << 3 | 2) + varint((1 << 63) - 1) + b"xx", "a second graph of 2^63-1 bytes", "finding")
    p("varint_endless", onnx_file([good]) + varint(1 << 3) + b"\xff" * 40, "a number of 40 bytes", "finding")
    p("group_deep", onnx_file([good]) + b"\x0b" * 20000, "20,000 open groups", "finding")
    nested = good
    graph = field(2, b"g") + field(5, nested)
    for _ in range(2000):
        attribute = field(1, b"body") + field(6, graph) + field(20, 5)
        graph = field(2, b"g") + field(1, field(4, b"Loop") + field(5, attribute))
    p("nested", field(1, 8) + field(7, graph), "graphs nested 2,000 deep", "either", ())


# --- numpy and archives


def npy(header, payload=b"", length=None, version=b"\x01\x00"):
    raw = header.encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(raw) if length is None else length) + raw + payload


def others(out):
    h = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n"
    put(out, "numpy/shape_bomb.npy", npy(h % ("<f4", "(1099511627776, 1024)"), bytes(64)), "a shape of 4 PiB over 64 bytes", "either")
    put(out, "numpy/shape_negative.npy", npy(h % ("<f4", "(-4,)"), bytes(64)), "a negative axis", "either")
    put(out, "numpy/header_beyond.npy", npy(h % ("<f4", "(4,)"), length=60000), "a header length beyond the end", "error")
    put(out, "numpy/header_code.npy", npy("{'descr': __import__('os').system('echo this header ran'), 'shape': (4,)}\n", bytes(16)), "an expression in the header", "either")
    put(out, "numpy/object.npy", npy(h % ("|O", "(1,)"), pickle.dumps([Payload()], 2)), "an object array whose pickle calls os.system", "finding")
    put(out, "archive/bomb.zip", pack([("zeros.safetensors", b"\0" * (8 << 20))], zipfile.ZIP_DEFLATED), "8 MiB of zeros in 8 KiB", "either")
    put(out, "archive/escape.zip", pack([("../../evil.safetensors", st({"a": t([2, 4], 0, 32)}, bytes(32)))]), "a member name that leaves the folder", "either", ["a"])
    nest = st({"a": t([2, 4], 0, 32)}, bytes(range(32)))
    for i in range(40):
        nest = pack([(f"{i}.zip" if i else "m.safetensors", nest)])
    put(out, "archive/nested.zip", nest, "zips nested 40 deep", "either")
    put(out, "empty", b"", "an empty file", "error")
    put(out, "one_byte", b"\x80", "one byte", "error")


def main():
    out = pathlib.Path(sys.argv[1])
    safetensors(out)
    gguf(out)
    pytorch(out, sys.argv[2])
    onnx(out)
    others(out)
    lines = [json.dumps(e) for e in sorted(ENTRIES, key=lambda e: e["file"])]
    (out / "manifest.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


main()
