"""Trains the two networks of the demo and writes them in four formats.

usage: demo_models.py OUT_DIR
"""
import json
import pathlib
import sys

import torch

import corpus
import glu
import save
import train

STEPS = 400
SEEDS = {"aurora": 1, "borealis": 2}


def make(name, seed, data):
    torch.manual_seed(seed)
    model = glu.GLUModel(glu.Config())
    loss = train.train(model, data, STEPS, order_seed=7, label=name)
    return model, loss


def main():
    out = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    data = corpus.python_sources()
    report = {}
    for name, seed in SEEDS.items():
        model, loss = make(name, seed, data)
        report[name] = {"seed": seed, "steps": STEPS, "loss_nats_per_byte": round(loss, 3)}
        save.safetensors(model.state_dict(), out / f"{name}.safetensors", {"format": "pt"})
        if name == "aurora":
            save.torch_zip(model.state_dict(), out / f"{name}.pt")
            save.gguf(model, out / f"{name}.gguf")
            save.onnx(model, out / f"{name}.onnx")
    (out / "training.json").write_text(json.dumps(report, indent=1) + "\n")


main()
