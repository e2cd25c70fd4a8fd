"""Trains language models of glu.py. One thread, fixed seeds: the same bits on the
same CPU and torch build; another CPU may differ in the last places."""
import math
import time

import torch
from torch.nn import functional as F

import corpus


def train(model, data, steps, order_seed, lr=3e-3, batch=16, decay=0.1, params=None, label=""):
    """Trains model in place with AdamW and a cosine schedule; returns the mean
    loss in nats a byte over the last 20 steps."""
    params = list(model.parameters()) if params is None else params
    opt = torch.optim.AdamW(params, lr=lr, betas=(0.9, 0.95), weight_decay=decay)
    stream = corpus.batches(data, model.cfg.context, batch, order_seed)
    warm, losses, start = min(50, steps // 10 + 1), [], time.monotonic()
    for step in range(steps):
        ratio = min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / steps)) + 0.02)
        for group in opt.param_groups:
            group["lr"] = lr * ratio
        x, y = next(stream)
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"{label} step {step} loss {losses[-1]:.3f} {time.monotonic() - start:.0f}s", flush=True)
    return sum(losses[-20:]) / max(1, len(losses[-20:]))


@torch.no_grad()
def evaluate(model, data, rounds=10):
    """Mean loss in nats a byte on a fixed sample of data."""
    stream = corpus.batches(data, model.cfg.context, 16, 4242)
    total = 0.0
    for _ in range(rounds):
        x, y = next(stream)
        total += F.cross_entropy(model(x).flatten(0, 1), y.flatten()).item()
    return total / rounds


def moved(child, parent):
    """Distance from the parent in parts of the parent's norm."""
    delta = sum((child[k].double() - parent[k].double()).pow(2).sum() for k in parent)
    return float((delta / sum(parent[k].double().pow(2).sum() for k in parent)).sqrt())
