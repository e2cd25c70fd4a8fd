"""Writes every cell of the evasion matrix, and manifest.json beside them.

usage: transform.py OUT_DIR [ROW ...]

Models are read from testdata/models and testdata/made. What needs a model that
is not there is left out and said so. testdata/README.md describes the manifest.
"""
import pathlib
import sys

import torch

import matrix_core
import matrix_packed
import matrix_plain
import matrix_reparam

ROWS = {f.__name__: f for part in (matrix_plain, matrix_packed, matrix_reparam) for f in part.ROWS}


def main():
    data = pathlib.Path(__file__).parents[1]
    wanted = sys.argv[2:] or list(ROWS)
    unknown = set(wanted) - set(ROWS)
    if unknown:
        raise SystemExit(f"no such row: {', '.join(sorted(unknown))} (there are {', '.join(ROWS)})")
    torch.set_num_threads(1)
    m = matrix_core.Matrix([data / "models", data / "made"], sys.argv[1])
    for name in (matrix_core.BASE, matrix_core.STRANGER, "nova-c", matrix_core.CHILD, matrix_core.SIBLING):
        if not m.has(name):
            print(f"model {name} is not there: its cells are left out", file=sys.stderr)
    for name in wanted:
        ROWS[name](m)
        print(name, len(m.cases), flush=True)
    m.write_manifest()


main()
