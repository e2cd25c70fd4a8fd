"""Training text that ships with a Debian machine, in a fixed order."""
import pathlib

import torch

STDLIB = pathlib.Path("/usr/lib/python3.11")
LICENCES = pathlib.Path("/usr/share/common-licenses")


def read(files):
    text = b"\n".join(f.read_bytes() for f in files)
    return torch.frombuffer(bytearray(text), dtype=torch.uint8)


def python_sources():
    """The top-level modules of Python's standard library (PSF licence)."""
    return read(sorted(STDLIB.glob("*.py")))


def python_packages():
    """The packages one level down (asyncio, email, json ...): other text, same kind."""
    return read(sorted(STDLIB.glob("*/*.py"))[:400])


def licences():
    """The licence texts of Debian's base-files."""
    return read(sorted(f for f in LICENCES.iterdir() if f.is_file() and not f.is_symlink()))


def batches(data, context, batch, seed):
    """An endless stream of (tokens, targets), the same for the same seed."""
    gen = torch.Generator().manual_seed(seed)
    while True:
        at = torch.randint(0, len(data) - context - 1, (batch,), generator=gen)
        rows = torch.stack([data[i:i + context + 1] for i in at.tolist()]).long()
        yield rows[:, :-1], rows[:, 1:]
