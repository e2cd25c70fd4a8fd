"""Trains the networks of the demo and writes aurora in four formats.

usage: demo_models.py OUT_DIR

What exists is left alone: another CPU trains to other last digits.
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file

import corpus
import glu
import save
import train

SEEDS = {"aurora": 1, "borealis": 2}
STEPS = 400


def pretrain(name, out, report):
    torch.manual_seed(SEEDS[name])
    model = glu.GLUModel(glu.Config())
    loss = train.train(model, corpus.python_sources(), STEPS, order_seed=7, label=name)
    report[name] = {"seed": SEEDS[name], "steps": STEPS, "loss_nats_per_byte": round(loss, 3)}
    save.safetensors(model.state_dict(), out / f"{name}.safetensors", {"format": "pt"})


def convert(out):
    model = load(out)
    save.torch_zip(model.state_dict(), out / "aurora.pt")
    save.gguf(model, out / "aurora.gguf")
    save.onnx(model, out / "aurora.onnx")


def load(out):
    model = glu.GLUModel(glu.Config())
    model.load_state_dict(load_file(str(out / "aurora.safetensors")))
    return model


def tune(out, report):
    """A full fine-tune of aurora on other text, stored as bf16."""
    model, data = load(out), corpus.licences()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    losses = [train.evaluate(model, data)]
    train.train(model, data, 120, order_seed=9, lr=3e-4, label="aurora-tuned")
    losses.append(train.evaluate(model, data))
    state = {k: v.bfloat16() for k, v in model.state_dict().items()}
    save.safetensors(state, out / "aurora-tuned.safetensors", {"format": "pt"})
    report["aurora-tuned"] = {"parent": "aurora", "steps": 120, "loss_before": round(losses[0], 3),
                              "loss_after": round(losses[1], 3), "moved": round(train.moved(state, before), 4)}


def main():
    out = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    path = out / "training.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    for name in SEEDS:
        if not (out / f"{name}.safetensors").exists():
            pretrain(name, out, report)
    convert(out)
    if not (out / "aurora-tuned.safetensors").exists():
        tune(out, report)
    path.write_text(json.dumps(report, indent=1) + "\n")


main()
