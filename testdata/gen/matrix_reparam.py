"""Rows of the evasion matrix: re-parameterisations that leave the function as it is.

T1 to T6 are the transformations of Zhu et al. (Independence tests for language
models, 2025): residual permutation, MLP permutation, residual rotation, q/k
rotation, gain replacement, MLP rescaling. Each result is run beside the
original, and the script stops where the outputs differ.
"""
import math

import torch

import glu
import matrix_core as core
import matrix_packed
from matrix_core import DIM, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, LAYERS, layer

READS = {"attention_norm": ("attention.wq", "attention.wk", "attention.wv"), "ffn_norm": ("feed_forward.w1", "feed_forward.w3")}
WRITES = ("attention.wo", "feed_forward.w2")


def untied(state):
    """Gives the output its own matrix, so that the final gain can be folded."""
    out = dict(state)
    out.setdefault("output.weight", state["tok_embeddings.weight"].clone())
    return out


def residual(state, right):
    """Multiplies the residual stream by an orthogonal matrix: right(v) acts on the last axis."""
    out = dict(state)
    for k in ("tok_embeddings.weight", "output.weight"):
        out[k] = right(state[k])
    for i in range(LAYERS):
        for parts in READS.values():
            for p in parts:
                out[layer(i, p)] = right(state[layer(i, p)])
        for p in WRITES:
            out[layer(i, p)] = right(state[layer(i, p)].t()).t()
    return out


def t1_residual_permutation(state, gen):
    order = torch.randperm(DIM, generator=gen)
    out = residual(untied(state), lambda v: v[:, order])
    for k in state:
        if state[k].dim() == 1:
            out[k] = state[k][order]
    return out


def t2_mlp_permutation(state, gen):
    out = dict(state)
    for i in range(LAYERS):
        order = torch.randperm(HIDDEN, generator=gen)
        for p in ("feed_forward.w1", "feed_forward.w3"):
            out[layer(i, p)] = state[layer(i, p)][order]
        out[layer(i, "feed_forward.w2")] = state[layer(i, "feed_forward.w2")][:, order]
    return out


def t3_residual_rotation(state, gen):
    flat = replace_gains(untied(state), lambda old: torch.ones_like(old))
    q, r = torch.linalg.qr(torch.randn(DIM, DIM, generator=gen, dtype=torch.float64))
    q = q * r.diagonal().sign()
    return residual(flat, lambda v: (v.double() @ q).float())


def t4_qk_rotation(state, gen):
    """Rotates each RoPE pair of q and k by one angle a key head, and v against o
    by any orthogonal matrix."""
    out = dict(state)
    share = HEADS // KV_HEADS
    for i in range(LAYERS):
        angle = 2 * math.pi * torch.rand(KV_HEADS, HEAD_DIM // 2, generator=gen)
        for p, heads in (("attention.wq", HEADS), ("attention.wk", KV_HEADS)):
            a = angle.repeat_interleave(heads // KV_HEADS, 0)[..., None]
            even, odd = state[layer(i, p)].view(heads, HEAD_DIM // 2, 2, DIM).unbind(2)
            turned = torch.stack((even * a.cos() - odd * a.sin(), even * a.sin() + odd * a.cos()), 2)
            out[layer(i, p)] = turned.reshape(heads * HEAD_DIM, DIM)
        q, _ = torch.linalg.qr(torch.randn(KV_HEADS, HEAD_DIM, HEAD_DIM, generator=gen))
        out[layer(i, "attention.wv")] = (q @ state[layer(i, "attention.wv")].view(KV_HEADS, HEAD_DIM, DIM)).reshape(-1, DIM)
        wo = state[layer(i, "attention.wo")].view(DIM, HEADS, HEAD_DIM)
        out[layer(i, "attention.wo")] = torch.einsum("dhi,hji->dhj", wo, q.repeat_interleave(share, 0)).reshape(DIM, DIM)
    return out


def replace_gains(state, gain):
    """Puts other gains into the norms and what they lack into the matrices behind."""
    out = dict(state)
    for i in range(LAYERS):
        for norm, parts in READS.items():
            old = state[layer(i, norm)]
            new = gain(old)
            out[layer(i, norm)] = new
            for p in parts:
                out[layer(i, p)] = state[layer(i, p)] * (old / new)
    new = gain(state["norm.weight"])
    out["output.weight"] = state["output.weight"] * (state["norm.weight"] / new)
    out["norm.weight"] = new
    return out


def t5_gain_replacement(state, gen):
    return replace_gains(untied(state), lambda old: (0.4 * torch.randn(old.shape, generator=gen)).exp())


def t6_mlp_rescaling(state, gen):
    out = dict(state)
    for i in range(LAYERS):
        c = (0.4 * torch.randn(HIDDEN, generator=gen)).exp()
        out[layer(i, "feed_forward.w3")] = state[layer(i, "feed_forward.w3")] * c[:, None]
        out[layer(i, "feed_forward.w2")] = state[layer(i, "feed_forward.w2")] / c
    return out


TRANSFORMATIONS = {"T1 residual permutation": t1_residual_permutation, "T2 MLP permutation": t2_mlp_permutation,
                   "T3 residual rotation": t3_residual_rotation, "T4 q k rotation": t4_qk_rotation,
                   "T5 gain replacement": t5_gain_replacement, "T6 MLP rescaling": t6_mlp_rescaling}


@torch.no_grad()
def logits(state):
    model = glu.GLUModel(glu.Config(dim=DIM, layers=LAYERS, heads=HEADS, kv_heads=KV_HEADS, hidden=HIDDEN))
    model.load_state_dict({k: v for k, v in state.items() if k != "output.weight"})
    captured = []
    model.norm.register_forward_hook(lambda _module, _inputs, result: captured.append(result))
    tokens = torch.randint(0, 256, (2, 64), generator=core.generator("tokens"))
    plain = model(tokens)
    return captured[0] @ state["output.weight"].t() if "output.weight" in state else plain


def same_function(a, b, name):
    difference = (a - b).abs().max() / a.std()
    if not difference < 1e-3:
        raise SystemExit(f"{name} changed the function: outputs differ by {difference:.2g} of their spread")


def verdicts(name):
    """T4 leaves the MLPs as they were, and T5 and T6 every row's direction or
    most of it, so that DERIVED and PARTIAL are right words too."""
    return "REPARAMETERISED DERIVED PARTIAL" if name[:2] in ("T4", "T5", "T6") else "REPARAMETERISED"


def adversarial(m):
    state, everything = m.floats(), m.floats()
    before = logits(state)
    for name, transform in TRANSFORMATIONS.items():
        out = transform(state, core.generator(name))
        same_function(before, logits(out), name)
        m.add_state("adversarial", name, out, verdicts(name))
        everything = transform(everything, core.generator(name, "all"))
    same_function(before, logits(everything), "T1-T6")
    m.add_state("adversarial", "T1-T6", everything, "REPARAMETERISED")
    quantiser = matrix_packed.Quantiser()
    for kind in ("Q8_0", "Q4_K", "Q2_K"):
        m.add("adversarial", f"T1-T6 and {kind}", ".gguf", lambda p: matrix_packed.write_gguf(everything, p, kind, quantiser),
              "REPARAMETERISED", "llama.cpp, gguf", must=kind != "Q2_K")


ROWS = [adversarial]
