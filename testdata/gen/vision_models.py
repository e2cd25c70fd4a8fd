"""Trains two seeds of a small vision transformer and of a convolutional net.

usage: vision_models.py OUT_DIR

The task is made here: tell eight kinds of pictures (discs, squares, rings,
crosses, stripes at two angles, checkers, gradients) of random place, size,
colour and noise. What exists is left alone. Weights are stored as F16.
"""
import json
import math
import pathlib
import sys

import torch
from torch import nn
from torch.nn import functional as F

import save

SIZE, KINDS = 32, 8


def pictures(n, gen):
    """n pictures (n, 3, 32, 32) and their kinds."""
    kind = torch.randint(0, KINDS, (n,), generator=gen)
    axis = torch.arange(SIZE, dtype=torch.float32)
    cx, cy, r, phase = (torch.rand(n, 1, 1, generator=gen) for _ in range(4))
    x = axis.view(1, 1, -1) - (8 + 16 * cx)
    y = axis.view(1, -1, 1) - (8 + 16 * cy)
    r = 4 + 6 * r
    radius, wave = (x * x + y * y).sqrt(), 2 * math.pi / (4 + r)
    shapes = torch.stack([
        (radius < r).float(), (torch.maximum(x.abs(), y.abs()) < r).float(), ((radius - r).abs() < 1.5).float(),
        ((torch.minimum(x.abs(), y.abs()) < 1.5) & (torch.maximum(x.abs(), y.abs()) < r)).float(),
        ((x + 0 * y) * wave + 6 * phase).sin(), ((x + y) * wave + 6 * phase).sin(),
        ((x * wave).sin() * (y * wave).sin()).sign(), (x + 0 * y) / SIZE + phase - 0.5])
    plane = shapes[kind, torch.arange(n)].unsqueeze(1)
    colour = torch.randn(n, 3, 1, 1, generator=gen)
    return plane * colour + 0.5 * torch.randn(n, 3, SIZE, SIZE, generator=gen), kind


class ViTBlock(nn.Module):
    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        score = (q @ k.transpose(2, 3) / math.sqrt(d // self.heads)).softmax(-1)
        x = x + self.proj((score @ v).transpose(1, 2).reshape(b, t, d))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    def __init__(self, dim=128, layers=2, heads=4, hidden=256, patch=4):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, (SIZE // patch) ** 2 + 1, dim))
        self.blocks = nn.ModuleList(ViTBlock(dim, heads, hidden) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, KINDS)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x[:, 0]))


class ResidualBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x):
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class ConvNet(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.layer1, self.down, self.layer2 = ResidualBlock(width), nn.Conv2d(width, width, 2, 2, bias=False), ResidualBlock(width)
        self.fc = nn.Linear(width, KINDS)

    def forward(self, x):
        x = self.layer1(F.relu(self.bn(self.stem(x))))
        return self.fc(self.layer2(self.down(x)).mean((2, 3)))


def fit(net, steps, label):
    gen = torch.Generator().manual_seed(77)  # the same pictures for every seed
    opt = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    for step in range(steps):
        for group in opt.param_groups:
            group["lr"] = 1e-3 * min((step + 1) / 30, 0.51 + 0.5 * math.cos(math.pi * step / steps))
        x, kind = pictures(64, gen)
        loss = F.cross_entropy(net(x), kind)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 100 == 0:
            print(label, step, round(loss.item(), 3), flush=True)
    net.eval()
    x, kind = pictures(1000, torch.Generator().manual_seed(78))
    with torch.no_grad():
        return round((net(x).argmax(1) == kind).float().mean().item(), 3)


def main():
    out = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    path = out / "training-vision.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    for kind, make, steps in (("vit", ViT, 500), ("conv", ConvNet, 300)):
        for seed in (1, 2):
            name = f"{kind}-{seed}"
            if (out / f"{name}.safetensors").exists():
                continue
            torch.manual_seed(seed)
            net = make()
            report[name] = {"seed": seed, "steps": steps, "accuracy": fit(net, steps, name)}
            state = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
            save.safetensors(state, out / f"{name}.safetensors", {"format": "pt"})
            path.write_text(json.dumps(report, indent=1) + "\n")


main()
