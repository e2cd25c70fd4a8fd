"""What the rows of the evasion matrix share: models, cases, the manifest."""
import dataclasses
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file

BASE, STRANGER, CHILD, SIBLING = "nova-a", "nova-b", "nova-a-child", "nova-a-sibling"
LAYERS, DIM, HEADS, KV_HEADS, HIDDEN = 4, 256, 4, 2, 512
HEAD_DIM = DIM // HEADS


@dataclasses.dataclass
class Case:
    """One cell: a file made from registered models, and what must be said of it."""
    row: str
    column: str
    verdicts: list  # words that are right, the best one first
    tool: str       # what wrote the file
    file: str = ""  # relative to the manifest
    model: str = BASE  # the registered model that must be named; "" for none
    registry: dict = dataclasses.field(default_factory=lambda: {BASE: "protected"})  # model -> kind
    parents: dict = dataclasses.field(default_factory=dict)  # weights of a merge
    must: bool = True  # False: how far it can be told is measured, not promised
    note: str = ""


class Matrix:
    """Reads models and collects cases; a row function writes files through it."""

    def __init__(self, folders, out):
        self.folders, self.out = [pathlib.Path(f) for f in folders], pathlib.Path(out)
        self.cases = []

    def path(self, model):
        for folder in self.folders:
            if (folder / f"{model}.safetensors").exists():
                return folder / f"{model}.safetensors"
        raise FileNotFoundError(f"model {model} is not there: run testdata/gen/run.sh")

    def has(self, *models):
        return all(any((f / f"{m}.safetensors").exists() for f in self.folders) for m in models)

    def raw(self, model=BASE):
        """The tensors as stored (BF16)."""
        return load_file(str(self.path(model)))

    def floats(self, model=BASE):
        return {k: v.float() for k, v in self.raw(model).items()}

    def add(self, row, column, extension, write, verdicts, tool, **more):
        """Calls write(path) for a new file of the row and records the case."""
        name = f"{row}/{column}".replace(" ", "_").replace("%", "pct")
        path = self.out / f"{name}{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
        self.cases.append(Case(row, column, verdicts.split(), tool, str(path.relative_to(self.out)), **more))

    def add_state(self, row, column, state, verdicts, tool="torch, safetensors", **more):
        """A case stored as BF16 safetensors, whatever state's type is."""
        self.add(row, column, ".safetensors", lambda p: save_state(state, p), verdicts, tool, **more)

    def write_manifest(self):
        lines = [json.dumps(dataclasses.asdict(c)) for c in self.cases]
        text = '{"schema_version": 1, "cases": [\n' + ",\n".join(lines) + "\n]}\n"
        (self.out / "manifest.json").write_text(text)


def save_state(state, path, dtype=torch.bfloat16, metadata=None):
    tensors = {k: v.to(dtype).contiguous() if v.is_floating_point() else v.contiguous() for k, v in state.items()}
    save_file(tensors, str(path), metadata or {"format": "pt"})


def generator(*seed):
    """A generator of random numbers that depends on the words given only."""
    value = 1469598103934665603
    for b in "/".join(map(str, seed)).encode():
        value = (value ^ b) * 1099511628211 % (1 << 63)
    return torch.Generator().manual_seed(value)


def matrices(state):
    """Names of the weights that formats quantise: two-dimensional, not the embedding."""
    return [k for k, v in state.items() if v.dim() == 2 and not k.startswith("tok_embeddings")]


def layer(i, part):
    return f"layers.{i}.{part}.weight"
