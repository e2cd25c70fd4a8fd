"""Writes small PyTorch files of every layout the installed torch can write.

usage: fixtures_torch.py OUT_DIR PREFIX      (PREFIX tells torch versions apart)
"""
import collections
import pathlib
import sys
import tarfile

import torch
from torch import nn

import save


def sample(shape, dtype=torch.float32, seed=0):
    gen = torch.Generator().manual_seed(seed)
    if dtype == torch.bool:
        return torch.randint(0, 2, shape, generator=gen).bool()
    if dtype.is_complex:
        part = torch.float32 if dtype == torch.complex64 else torch.float64
        return torch.complex(torch.randn(shape, generator=gen, dtype=part), torch.randn(shape, generator=gen, dtype=part))
    if dtype.is_floating_point:
        return torch.randn(shape, generator=gen).to(dtype)
    high = torch.iinfo(dtype).max if dtype in (torch.int8, torch.uint8, torch.int16) else 1 << 30
    return torch.randint(0, high, shape, generator=gen).to(dtype)


PLAIN = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
         torch.int8, torch.uint8, torch.bool, torch.complex64, torch.complex128]


def newer_dtypes():
    """Types that torch 1.13 does not have."""
    names = {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e4m3fnuz": "F8_E4M3FNUZ",
             "float8_e5m2fnuz": "F8_E5M2FNUZ", "uint16": "U16", "uint32": "U32", "uint64": "U64",
             "float8_e8m0fnu": "F8_E8M0"}
    return {getattr(torch, n): label for n, label in names.items() if hasattr(torch, n)}


def all_dtypes():
    state = {f"{str(d).split('.')[1]}": sample((5, 7), d, i) for i, d in enumerate(PLAIN)}
    for i, d in enumerate(newer_dtypes()):
        unsigned = d in (getattr(torch, n, None) for n in ("uint16", "uint32", "uint64"))
        base = torch.arange(35, dtype=torch.float32).reshape(5, 7)
        state[str(d).split(".")[1]] = (base * 3).to(torch.int64).to(d) if unsigned else (base / 9 + 1).to(d)
    return state


def views():
    """Tensors that share storages, and whose memory order is not the logical one."""
    base = sample((8, 12), seed=40)
    line = torch.arange(64, dtype=torch.float32)
    return {
        "base": base, "tied": base, "transposed": base.t(), "row_slice": base[2:5], "column_slice": base[:, 3:7],
        "every_other": base[::2, ::3], "one_row": base[4], "expanded": base[:1].expand(8, 12),
        "permuted": sample((2, 3, 4), seed=41).permute(2, 0, 1), "window": line.unfold(0, 8, 4),
        "offset_scalar": line[17], "scalar": torch.tensor(3.5), "empty": torch.zeros(0, 4), "empty_axis": torch.zeros(3, 0),
        "channels_last": sample((2, 3, 4, 5), seed=42).contiguous(memory_format=torch.channels_last),
    }


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 6)
        self.tied = nn.Linear(4, 6, bias=False)
        self.tied.weight = self.head.weight

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x))).mean((2, 3))
        return self.head(x) + self.tied(x)


def flatten(value, path=""):
    """Paths of all tensors in nested dicts and lists, parts joined by a dot."""
    if isinstance(value, torch.Tensor):
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    out = {}
    for key, inner in items:
        out.update(flatten(inner, f"{path}.{key}" if path else str(key)))
    return out


def checkpoint(net):
    opt = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for _ in range(2):
        opt.zero_grad()
        net(sample((2, 3, 8, 8), seed=50)).pow(2).sum().backward()
        opt.step()
    return {"epoch": 2, "lr": 1e-3, "note": "trained on noise", "model": net.state_dict(),
            "optimizer": opt.state_dict(), "rng": torch.arange(16, dtype=torch.uint8), "list": [sample((2, 2)), {"x": sample((3,))}]}


def torchscript(out, prefix, net):
    net.eval()
    example = sample((1, 3, 8, 8), seed=60)
    state = net.state_dict()
    # PyTorch 2 also stores the example inputs, with a record of no bytes.
    options = {} if torch.__version__.startswith("1.") else {"_store_inputs": False}
    for kind, script in (("traced", torch.jit.trace(net, example, **options)), ("scripted", torch.jit.script(net))):
        path = out / f"{prefix}_{kind}.pt"
        script.save(str(path))
        save.expect_torch(path, torch.jit.load(str(path)).state_dict())
    path = out / f"{prefix}_lite.ptl"
    torch.jit.script(net)._save_for_lite_interpreter(str(path))
    save.expect_torch(path, state)


def odd_types(out, prefix):
    """Parameters, subclasses, sparse and quantised tensors, in both layouts."""
    q = torch.quantize_per_tensor(sample((4, 6), seed=71), 0.05, 3, torch.qint8)
    qc = torch.quantize_per_channel(sample((4, 6), seed=72), torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.zeros(4, dtype=torch.int64), 0, torch.qint8)
    sparse = torch.sparse_coo_tensor(torch.tensor([[0, 2], [1, 3]]), torch.tensor([1.5, -2.5]), (4, 5)).coalesce()
    value = {"parameter": nn.Parameter(sample((3, 4), seed=70)), "quantised": q, "quantised_rows": qc, "sparse": sparse,
             "buffer": sample((3,), seed=73)}
    entries = [save.torch_entry("parameter", value["parameter"]), save.torch_entry("buffer", value["buffer"]),
               save.torch_entry("quantised", q.int_repr()), save.torch_entry("quantised_rows", qc.int_repr()),
               save.torch_entry("sparse.indices", sparse.indices()), save.torch_entry("sparse.values", sparse.values())]
    for suffix, new in (("zip", True), ("legacy", False)):
        path = out / f"{prefix}_odd_{suffix}.pt"
        torch.save(value, str(path), _use_new_zipfile_serialization=new)
        save.expect(path, entries)


def main():
    out, prefix = pathlib.Path(sys.argv[1]), sys.argv[2]
    out.mkdir(parents=True, exist_ok=True)
    save.DTYPES.update(newer_dtypes())
    torch.set_num_threads(1)
    torch.manual_seed(99)
    net = Net()
    values = {"dtypes": all_dtypes(), "views": views(), "checkpoint": checkpoint(net),
              "ordered": collections.OrderedDict(net.state_dict())}
    for name, value in values.items():
        for suffix, new in (("zip", True), ("legacy", False)):
            path = out / f"{prefix}_{name}_{suffix}.pt"
            torch.save(value, str(path), _use_new_zipfile_serialization=new)
            save.expect_torch(path, flatten(value))
    for suffix, new in (("zip", True), ("legacy", False)):
        path = out / f"{prefix}_module_{suffix}.pt"
        torch.save(net, str(path), _use_new_zipfile_serialization=new)
        save.expect_torch(path, net.state_dict())
    path = out / f"{prefix}_bare_tensor_zip.pt"
    torch.save(sample((6, 7), seed=80), str(path))
    save.expect_torch(path, {"": sample((6, 7), seed=80)})
    odd_types(out, prefix)
    torchscript(out, prefix, net)


main()
