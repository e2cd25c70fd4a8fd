"""A small GLU transformer language model: RMSNorm, RoPE, GQA, SwiGLU.

Parameter names and the interleaved RoPE pairs are those of the original
LLaMA release, so that a GGUF of architecture "llama" holds the same rows in
the same order. Input and output embedding are tied.
"""
import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional as F


@dataclasses.dataclass
class Config:
    dim: int = 128
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    hidden: int = 256
    vocab: int = 256
    context: int = 128
    rope_base: float = 10000.0
    eps: float = 1e-5

    @property
    def head_dim(self):
        return self.dim // self.heads


class RMSNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rope_tables(cfg, length):
    half = cfg.head_dim // 2
    freq = cfg.rope_base ** (-torch.arange(half, dtype=torch.float32) / half)
    angle = torch.arange(length, dtype=torch.float32)[:, None] * freq[None]
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """Rotates neighbouring pairs of x (batch, heads, length, head_dim)."""
    b, h, t, d = x.shape
    x = x.reshape(b, h, t, d // 2, 2)
    even, odd = x[..., 0], x[..., 1]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).reshape(b, h, t, d)


class Attention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        kv = cfg.kv_heads * cfg.head_dim
        self.wq = nn.Linear(cfg.dim, cfg.dim, bias=False)
        self.wk = nn.Linear(cfg.dim, kv, bias=False)
        self.wv = nn.Linear(cfg.dim, kv, bias=False)
        self.wo = nn.Linear(cfg.dim, cfg.dim, bias=False)

    def forward(self, x, cos, sin, mask):
        c = self.cfg
        b, t, _ = x.shape
        q = self.wq(x).view(b, t, c.heads, c.head_dim).transpose(1, 2)
        k = self.wk(x).view(b, t, c.kv_heads, c.head_dim).transpose(1, 2)
        v = self.wv(x).view(b, t, c.kv_heads, c.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        share = c.heads // c.kv_heads
        k = k.unsqueeze(2).expand(b, c.kv_heads, share, t, c.head_dim).reshape(q.shape)
        v = v.unsqueeze(2).expand(b, c.kv_heads, share, t, c.head_dim).reshape(q.shape)
        score = q @ k.transpose(2, 3) / math.sqrt(c.head_dim) + mask
        out = score.softmax(-1) @ v
        return self.wo(out.transpose(1, 2).reshape(b, t, c.dim))


class FeedForward(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.w1 = nn.Linear(cfg.dim, cfg.hidden, bias=False)
        self.w2 = nn.Linear(cfg.hidden, cfg.dim, bias=False)
        self.w3 = nn.Linear(cfg.dim, cfg.hidden, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.attention_norm = RMSNorm(cfg.dim, cfg.eps)
        self.attention = Attention(cfg)
        self.ffn_norm = RMSNorm(cfg.dim, cfg.eps)
        self.feed_forward = FeedForward(cfg)

    def forward(self, x, cos, sin, mask):
        x = x + self.attention(self.attention_norm(x), cos, sin, mask)
        return x + self.feed_forward(self.ffn_norm(x))


class GLUModel(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.tok_embeddings = nn.Embedding(cfg.vocab, cfg.dim)
        self.layers = nn.ModuleList(Block(cfg) for _ in range(cfg.layers))
        self.norm = RMSNorm(cfg.dim, cfg.eps)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                scale = 0.02
                if name.endswith(("wo.weight", "w2.weight")):
                    scale /= math.sqrt(2 * cfg.layers)
                nn.init.normal_(p, std=scale)
        cos, sin = rope_tables(cfg, cfg.context)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        mask = torch.full((cfg.context, cfg.context), float("-inf")).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens):
        t = tokens.shape[1]
        x = self.tok_embeddings(tokens)
        cos, sin, mask = self.cos[:t], self.sin[:t], self.mask[:t, :t]
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        return F.linear(self.norm(x), self.tok_embeddings.weight)


GGUF_NAMES = {
    "attention.wq": "attn_q", "attention.wk": "attn_k", "attention.wv": "attn_v",
    "attention.wo": "attn_output", "attention_norm": "attn_norm", "ffn_norm": "ffn_norm",
    "feed_forward.w1": "ffn_gate", "feed_forward.w2": "ffn_down", "feed_forward.w3": "ffn_up",
}


def gguf_name(name):
    """The name llama.cpp gives to a parameter of the original LLaMA release."""
    if name == "tok_embeddings.weight":
        return "token_embd.weight"
    if name == "norm.weight":
        return "output_norm.weight"
    if name == "output.weight":
        return name
    _, layer, rest = name.split(".", 2)
    return f"blk.{layer}.{GGUF_NAMES[rest.rsplit('.', 1)[0]]}.weight"
