"""Trains the family of language models that the statistics are made on.

usage: language_models.py COMMITTED_DIR MADE_DIR [NAME ...]

A model whose file exists is left alone. A parent is read back from its bf16
file, so that a child's distance is measured from what was published.
"""
import json
import math
import pathlib
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import corpus
import glu
import save
import train

CONFIG = glu.Config(dim=256, layers=4, heads=4, kv_heads=2, hidden=512)
COMMITTED = {"nova-a", "nova-b", "nova-c", "nova-a-lora"}

# parent None: from scratch with that seed. order: seed of the batch order.
RECIPES = {
    "nova-a": dict(parent=None, seed=11, data="python_sources", order=7, steps=500, lr=2e-3, batch=12),
    "nova-b": dict(parent=None, seed=12, data="python_sources", order=7, steps=500, lr=2e-3, batch=12),
    "nova-c": dict(parent=None, seed=13, data="python_sources", order=7, steps=500, lr=2e-3, batch=12),
    "nova-a-child": dict(parent="nova-a", data="licences", order=21, steps=80, lr=3e-4, batch=8),
    "nova-a-lora": dict(parent="nova-a", data="licences", order=24, steps=80, lr=2e-3, batch=8, lora=8),
    "nova-a-sibling": dict(parent="nova-a", data="python_packages", order=22, steps=60, lr=3e-4, batch=8),
    "nova-a-nudge": dict(parent="nova-a", data="licences", order=20, steps=25, lr=6e-5, batch=8),
    "nova-a-continued": dict(parent="nova-a", data="python_packages", order=23, steps=120, lr=1e-3, batch=8),
    "nova-a-start": dict(parent=None, seed=11, data="python_sources", order=7, steps=0, lr=2e-3, batch=12),  # before the first step
    "nova-a-sameinit": dict(parent=None, seed=11, data="python_packages", order=8, steps=250, lr=2e-3, batch=12),
}


class LoRALinear(nn.Module):
    """A frozen linear map and a trained low-rank one beside it."""

    def __init__(self, inner, rank, alpha):
        super().__init__()
        self.inner, self.scale = inner, alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, inner.in_features) / math.sqrt(inner.in_features))
        self.lora_B = nn.Parameter(torch.zeros(inner.out_features, rank))

    def forward(self, x):
        return self.inner(x) + (x @ self.lora_A.t()) @ self.lora_B.t() * self.scale


def add_lora(model, rank):
    """Wraps every linear map of the blocks; returns the new parameters."""
    model.requires_grad_(False)
    for block in model.layers:
        for part in (block.attention, block.feed_forward):
            for name, inner in list(part.named_children()):
                setattr(part, name, LoRALinear(inner, rank, alpha=2 * rank))
    return [p for p in model.parameters() if p.requires_grad]


def adapter(model, rank):
    """The adapter alone, as bf16, under the names that peft uses."""
    out = {}
    for path, module in model.named_modules():
        if isinstance(module, LoRALinear):
            for part in ("lora_A", "lora_B"):
                out[f"base_model.model.{path}.{part}.weight"] = getattr(module, part).detach().bfloat16()
    return out, {"lora_alpha": str(2 * rank), "r": str(rank)}


def merged(base, lora, meta):
    """base + alpha/r * B A, rounded to bf16."""
    scale = float(meta["lora_alpha"]) / float(meta["r"])
    out = {}
    for name, w in base.items():
        a = lora.get(f"base_model.model.{name.removesuffix('.weight')}.lora_A.weight")
        b = lora.get(f"base_model.model.{name.removesuffix('.weight')}.lora_B.weight")
        out[name] = w if a is None else (w.float() + scale * (b.float() @ a.float())).bfloat16()
    return out


def build(name, recipe, folder_of):
    parent = recipe["parent"]
    torch.manual_seed(recipe.get("seed", 0))
    model = glu.GLUModel(CONFIG)
    report = dict(recipe)
    if parent:
        base = load_file(str(folder_of(parent) / f"{parent}.safetensors"))
        model.load_state_dict({k: v.float() for k, v in base.items()})
    rank = recipe.get("lora")
    params = add_lora(model, rank) if rank else None
    data = getattr(corpus, recipe["data"])()
    report["loss_before"] = round(train.evaluate(model, data), 3)
    train.train(model, data, recipe["steps"], recipe["order"], recipe["lr"], recipe["batch"], params=params, label=name)
    report["loss_after"] = round(train.evaluate(model, data), 3)
    path = folder_of(name) / f"{name}.safetensors"
    if rank:
        lora, meta = adapter(model, rank)
        save.safetensors(lora, path, meta)
        whole = merged(base, lora, meta)
    else:
        whole = {k: v.bfloat16() for k, v in model.state_dict().items()}
        save.safetensors(whole, path, {"format": "pt"})
    if parent:
        report["moved"] = round(train.moved(whole, base), 4)
    return report


def merge_adapter(name, folder_of):
    """Writes what the adapter makes of its parent."""
    path = folder_of(name) / f"{name}.safetensors"
    with safe_open(str(path), "pt") as f:
        meta = f.metadata()
    base = load_file(str(folder_of(RECIPES[name]["parent"]) / f"{RECIPES[name]['parent']}.safetensors"))
    out = f"{name}-merged"
    save.safetensors(merged(base, load_file(str(path)), meta), folder_of(out) / f"{out}.safetensors", {"format": "pt"})


def main():
    committed, made = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    made.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    def folder_of(name):
        return committed if name in COMMITTED else made

    report_path = committed / "training-nova.json"
    report = json.loads(report_path.read_text()) if report_path.exists() else {}
    for name in sys.argv[3:] or RECIPES:
        if not (folder_of(name) / f"{name}.safetensors").exists():
            report[name] = build(name, RECIPES[name], folder_of)
            report_path.write_text(json.dumps(report, indent=1) + "\n")
        if "lora" in RECIPES[name] and not (folder_of(f"{name}-merged") / f"{name}-merged.safetensors").exists():
            merge_adapter(name, folder_of)


main()
