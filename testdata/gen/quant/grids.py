"""Writes formats/quant/grids.bin: the code books of ggml's IQ types, packed.

Source: the public tables of the PyPI package gguf (llama.cpp, MIT licence,
(c) The ggml authors). Run: python grids.py ../../../formats/quant/grids.bin
"""
import sys

import numpy as np
from gguf import quants

# Type, bits an entry: the index of the level in the type's grid_map.
BOOKS = [("IQ2_XXS", 2), ("IQ2_XS", 2), ("IQ2_S", 2), ("IQ3_XXS", 3), ("IQ3_S", 3), ("IQ1_S", 2)]


def packed(name, bits):
    cls = getattr(quants, name)
    cls.init_grid()
    levels = list(cls.grid_map)
    index = np.array([levels.index(v) for v in cls.grid.flatten().tolist()], dtype=np.uint8)
    stream = np.unpackbits(index[:, None], axis=1, bitorder="little")[:, :bits]
    return np.packbits(stream.flatten(), bitorder="little").tobytes()


with open(sys.argv[1], "wb") as out:
    for name, bits in BOOKS:
        out.write(packed(name, bits))
