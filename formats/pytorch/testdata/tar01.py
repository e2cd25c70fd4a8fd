"""Writes tar01.pt in the layout of PyTorch 0.1, as torch.serialization's legacy_load reads it.

No PyTorch that runs today writes it; PyTorch 1.13 (Debian 12) reads it, which this
script checks. usage: /usr/bin/python3 tar01.py
"""
import collections, io, os, pickle, struct, tarfile
import torch

here = os.path.dirname(os.path.abspath(__file__))
out = os.path.join(here, "tar01.pt")


class Ref:
    def __init__(self, key):
        self.key = key


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return str(obj.key) if isinstance(obj, Ref) else None


def member(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


floats = struct.pack("<12f", *range(12))
longs = struct.pack("<3q", 7, 8, 9)
storages = pickle.dumps(2, 2)
storages += pickle.dumps((100, "cpu", torch.FloatStorage), 2) + struct.pack("<q", 12) + floats
storages += pickle.dumps((101, "cpu", torch.LongStorage), 2) + struct.pack("<q", 3) + longs
storages += pickle.dumps([(102, 100, 4, 8)], 2)  # a view of the last eight floats


def tensor(key, storage, kind, size, stride, offset):
    b = pickle.dumps((key, storage, kind), 2) + struct.pack("<i4x", len(size))
    return b + struct.pack("<%dq" % (2 * len(size) + 1), *size, *stride, offset)


tensors = pickle.dumps(4, 2)
tensors += tensor(1, 100, torch.FloatTensor, (3, 4), (4, 1), 0)
tensors += tensor(2, 100, torch.FloatTensor, (4, 3), (1, 4), 0)
tensors += tensor(3, 101, torch.LongTensor, (2,), (1,), 1)
tensors += tensor(4, 102, torch.FloatTensor, (8,), (1,), 0)

body = io.BytesIO()
Pickler(body, 2).dump(collections.OrderedDict(
    [("weight", Ref(1)), ("transposed", Ref(2)), ("counts", Ref(3)), ("view", Ref(4)), ("tied", Ref(1))]))
with tarfile.open(out, "w") as tar:
    member(tar, "sys_info", pickle.dumps({"protocol_version": 1000, "little_endian": True}, 2))
    member(tar, "pickle", body.getvalue())
    member(tar, "tensors", tensors)
    member(tar, "storages", storages)
got = torch.load(out)
assert got["transposed"].tolist() == got["weight"].t().tolist()
assert got["weight"].flatten().tolist() == list(map(float, range(12)))
assert got["counts"].tolist() == [8, 9] and got["view"].tolist() == [4.0 + i for i in range(8)]
print({k: tuple(v.shape) for k, v in got.items()})
