"""Writes a large synthetic model whose weights look like trained ones.

usage: planted.py OUT.safetensors [--dim 2048] [--layers 8] [--hidden 5632] [--seed 1]

Each matrix is low rank with a power-law spectrum, plus Student-t noise (four
degrees of freedom), plus 1 % of its input columns five times as large; gains
are log-normal. It is written tensor by tensor, so that memory stays at a few
matrices whatever the size. The defaults give 0.8 GB of BF16.
"""
import argparse
import json
import struct

import numpy
import torch

import matrix_core as core


def matrix(rows, columns, *seed, rank=64, decay=0.8, share=0.5):
    """share: how much of the variance lies in the low-rank part."""
    gen = core.generator("planted", *seed)
    spectrum = torch.arange(1, rank + 1, dtype=torch.float32) ** -decay
    spectrum *= (share / (spectrum**2).sum()).sqrt()
    low = (torch.randn(rows, rank, generator=gen) * spectrum) @ torch.randn(rank, columns, generator=gen)
    chi = torch.randn(4, rows, columns, generator=gen).pow_(2).sum(0).div_(4).sqrt_()
    tail = torch.randn(rows, columns, generator=gen) / chi * ((1 - share) / 2) ** 0.5  # t4 has variance 2
    out = low + tail
    out[:, torch.randperm(columns, generator=gen)[:max(1, columns // 100)]] *= 5
    return out / columns**0.5


def layout(args):
    """Names and shapes in file order."""
    kv = args.dim // 4
    shapes = {"tok_embeddings.weight": (32000, args.dim)}
    for i in range(args.layers):
        shapes[core.layer(i, "attention_norm")] = (args.dim,)
        for part, rows, columns in (("attention.wq", args.dim, args.dim), ("attention.wk", kv, args.dim), ("attention.wv", kv, args.dim),
                                    ("attention.wo", args.dim, args.dim), ("feed_forward.w1", args.hidden, args.dim),
                                    ("feed_forward.w2", args.dim, args.hidden), ("feed_forward.w3", args.hidden, args.dim)):
            shapes[core.layer(i, part)] = (rows, columns)
        shapes[core.layer(i, "ffn_norm")] = (args.dim,)
    shapes["norm.weight"] = (args.dim,)
    return shapes


def tensor(name, shape, seed):
    if len(shape) == 1:
        return (0.3 * torch.randn(shape, generator=core.generator("planted", seed, name))).exp()
    parts = [matrix(min(4096, shape[0] - r), shape[1], seed, name, r) for r in range(0, shape[0], 4096)]
    return torch.cat(parts)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("out")
    for name, default in (("dim", 2048), ("layers", 8), ("hidden", 5632), ("seed", 1)):
        p.add_argument(f"--{name}", type=int, default=default)
    args = p.parse_args()
    torch.set_num_threads(1)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    shapes = layout(args)
    for name, shape in shapes.items():
        size = 2 * int(numpy.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    with open(args.out, "wb") as f:
        f.write(struct.pack("<Q", len(raw)) + raw)
        for name, shape in shapes.items():
            f.write(tensor(name, shape, args.seed).bfloat16().view(torch.int16).numpy().tobytes())


main()
