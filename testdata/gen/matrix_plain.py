"""Rows of the evasion matrix: containers, casts, noise, pruning, structure, parts, merges."""
import base64
import io
import math
import pathlib
import tarfile
import zipfile

import ml_dtypes
import numpy
import torch
from safetensors.numpy import save_file as save_numpy

import glu
import matrix_core as core
from matrix_core import BASE, CHILD, HEAD_DIM, HEADS, KV_HEADS, LAYERS, SIBLING, STRANGER, layer

HF = {"attention.wq": "self_attn.q_proj", "attention.wk": "self_attn.k_proj", "attention.wv": "self_attn.v_proj",
      "attention.wo": "self_attn.o_proj", "feed_forward.w1": "mlp.gate_proj", "feed_forward.w2": "mlp.down_proj",
      "feed_forward.w3": "mlp.up_proj", "attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}


def hf_name(name):
    for ours, theirs in HF.items():
        name = name.replace(ours, theirs)
    return "model." + name.replace("tok_embeddings", "embed_tokens")


def container(m):
    raw, source = m.raw(), m.path(BASE)
    bits = source.read_bytes()
    same = "IDENTICAL REPACKAGED"
    m.add("container", "renamed", ".jpg", lambda p: p.write_bytes(bits), same, "cp")
    m.add("container", "tar", ".tar", lambda p: tar(p, bits), same, "python tarfile")
    m.add("container", "zip stored", ".zip", lambda p: stored(p, bits), same, "python zipfile")
    m.add("container", "torch zip", ".pt", lambda p: torch.save(raw, str(p)), "REPACKAGED", "torch 1.13")
    m.add("container", "torch legacy", ".bin", lambda p: torch.save(raw, str(p), _use_new_zipfile_serialization=False), "REPACKAGED", "torch 1.13")
    m.add("container", "torch checkpoint", ".ckpt", lambda p: torch.save({"step": 5, "model": raw}, str(p)), "REPACKAGED", "torch 1.13")
    m.add("container", "gguf bf16", ".gguf", lambda p: gguf_bf16(raw, p), "REPACKAGED CAST", "gguf", note="norms become F32, as llama.cpp's converter does")
    m.add("container", "onnx f32", ".onnx", lambda p: export(m, p), "CAST REPACKAGED", "torch.onnx.export")
    m.add("container", "onnx folded", ".onnx", lambda p: export(m, p, fold=True), "REPARAMETERISED CAST", "torch.onnx.export", note="constant folding transposes the matrices")
    m.add("container", "npz f32", ".npz", lambda p: numpy.savez(str(p), **{k: v.float().numpy() for k, v in raw.items()}), "CAST", "numpy")
    renamed = {hf_name(k): v for k, v in reversed(list(raw.items()))}
    m.add_state("container", "tensors renamed", renamed, "REPACKAGED")
    m.add("container", "resharded", "", lambda p: shards(raw, p, 3), "REPACKAGED", "safetensors")


def tar(path, bits):
    with tarfile.open(path, "w") as t:
        info = tarfile.TarInfo("backup/model.safetensors")
        info.size = len(bits)
        t.addfile(info, io.BytesIO(bits))


def stored(path, bits):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        z.writestr(zipfile.ZipInfo("photos/holiday.bin", (1980, 1, 1, 0, 0, 0)), bits)


def export(m, path, fold=False):
    model = glu.GLUModel(glu.Config(dim=core.DIM, layers=LAYERS, heads=HEADS, kv_heads=KV_HEADS, hidden=core.HIDDEN))
    model.load_state_dict(m.floats())
    model.eval()
    torch.onnx.export(model, torch.zeros((1, 128), dtype=torch.int64), str(path), opset_version=14, do_constant_folding=fold)


def gguf_bf16(raw, path):
    import gguf
    w = gguf.GGUFWriter(str(path), "llama")
    for name, t in raw.items():
        if t.dim() == 1:
            w.add_tensor(glu.gguf_name(name), t.float().numpy())
        else:
            w.add_tensor(glu.gguf_name(name), t.view(torch.int16).numpy().view(numpy.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def shards(state, folder, n):
    folder.mkdir(parents=True, exist_ok=True)
    names = list(state)
    for i in range(n):
        part = {k: state[k] for k in names[i::n]}
        core.save_state(part, folder / f"model-{i + 1:05d}-of-{n:05d}.safetensors")


def cast(m):
    state = m.floats()
    for name, dtype in (("f64", torch.float64), ("f32", torch.float32), ("f16", torch.float16)):
        m.add("cast", name, ".safetensors", lambda p: core.save_state(state, p, dtype), "CAST", "torch, safetensors")
    for name in ("float8_e4m3fn", "float8_e5m2"):
        kind = getattr(ml_dtypes, name)
        cells = {k: v.numpy().astype(kind) for k, v in state.items()}
        m.add("cast", name, ".safetensors", lambda p: save_numpy(cells, str(p)), "CAST QUANTISED", "ml_dtypes, safetensors")


def noise(m):
    state = m.floats()
    for percent in (1, 2, 5, 20, 50, 100):
        gen = core.generator("noise", percent)
        out = {k: v + percent / 100 * v.std() * torch.randn(v.shape, generator=gen) if v.dim() == 2 else v for k, v in state.items()}
        m.add_state("noise", f"{percent}%", out, "DERIVED QUANTISED CAST", must=percent <= 20)


def prune(m):
    state = m.floats()
    for percent in (30, 50, 70, 90):
        gen = core.generator("prune", percent)
        by_size, at_random = dict(state), dict(state)
        for k in core.matrices(state):
            v = state[k]
            limit = v.abs().flatten().kthvalue(v.numel() * percent // 100).values
            by_size[k] = v * (v.abs() > limit)
            at_random[k] = v * (torch.rand(v.shape, generator=gen) >= percent / 100)
        m.add_state("prune magnitude", f"{percent}%", by_size, "DERIVED QUANTISED CAST", must=percent <= 50)
        m.add_state("prune random", f"{percent}%", at_random, "DERIVED QUANTISED CAST PARTIAL", must=percent <= 50)


def derived(m):
    for name in ("nova-a-nudge", CHILD, SIBLING, "nova-a-continued", "nova-a-lora-merged"):
        if m.has(name):
            m.add_state("derived", name.removeprefix("nova-a-"), m.raw(name), "DERIVED", "trained, see training-nova.json")
    if m.has("nova-a-sameinit"):
        m.add_state("derived", "same init other data", m.raw("nova-a-sameinit"), "REPARAMETERISED NO-MATCH", "trained",
                    note="shares the random start only: for review")
    if m.has("nova-a-sameinit", "nova-a-start"):
        m.add_state("derived", "same init, the start public", m.raw("nova-a-sameinit"), "PUBLIC-BASE", "trained", model="nova-a-start",
                    registry={BASE: "protected", "nova-a-start": "public"})
        m.add_state("derived", "child, the start public", m.raw(CHILD), "DERIVED", "trained", registry={BASE: "protected", "nova-a-start": "public"})


def structure(m):
    raw = m.raw()
    m.add_state("structure", "transposed", {k: v.t() if v.dim() == 2 else v for k, v in raw.items()}, "REPARAMETERISED")
    m.add_state("structure", "fused qkv and gate_up", fused(raw), "REPACKAGED REPARAMETERISED")
    m.add_state("structure", "split by head", split(raw), "REPACKAGED")
    m.add_state("structure", "layers stacked", stacked(raw), "REPACKAGED REPARAMETERISED")
    m.add_state("structure", "llama q k permute", permuted_qk(raw), "REPARAMETERISED REPACKAGED DERIVED", note="rows reordered as in Hugging Face's conversion")
    for name, order in (("layer dropped", (0, 1, 3)), ("half the layers", (0, 2)), ("one layer", (2,)),
                        ("layers repeated", (0, 1, 2, 1, 2, 3)), ("layers reordered", (3, 1, 2, 0))):
        whole = set(order) == set(range(LAYERS))
        m.add_state("structure", name, relayered(raw, order), "REPACKAGED DERIVED REPARAMETERISED" if whole else "PARTIAL")
    gen = core.generator("vocabulary")
    wide = dict(raw)
    emb = raw["tok_embeddings.weight"]
    wide["tok_embeddings.weight"] = torch.cat((emb, 0.02 * torch.randn(64, core.DIM, generator=gen).bfloat16()))
    m.add_state("structure", "vocabulary extended", wide, "REPACKAGED DERIVED")


def fused(raw):
    out = {k: v for k, v in raw.items() if not any(p in k for p in ("wq", "wk", "wv", "w1", "w3"))}
    for i in range(LAYERS):
        out[layer(i, "attention.wqkv")] = torch.cat([raw[layer(i, f"attention.{p}")] for p in ("wq", "wk", "wv")])
        out[layer(i, "feed_forward.w13")] = torch.cat([raw[layer(i, f"feed_forward.{p}")] for p in ("w1", "w3")])
    return out


def split(raw):
    out = {}
    for k, v in raw.items():
        if any(p in k for p in ("wq", "wk", "wv")):
            for h, part in enumerate(v.split(HEAD_DIM)):
                out[k.replace(".weight", f".head{h}.weight")] = part
        else:
            out[k] = v
    return out


def stacked(raw):
    """One tensor for all layers, as scanned layers are stored."""
    out = {k: v for k, v in raw.items() if not k.startswith("layers.")}
    for part in {k.split(".", 2)[2] for k in raw if k.startswith("layers.")}:
        out[f"layers.{part}"] = torch.stack([raw[f"layers.{i}.{part}"] for i in range(LAYERS)])
    return dict(sorted(out.items()))


def permuted_qk(raw):
    out = dict(raw)
    for i in range(LAYERS):
        for part, heads in (("wq", HEADS), ("wk", KV_HEADS)):
            v = raw[layer(i, f"attention.{part}")]
            out[layer(i, f"attention.{part}")] = v.view(heads, HEAD_DIM // 2, 2, -1).transpose(1, 2).reshape(v.shape)
    return out


def relayered(raw, order):
    out = {k: v for k, v in raw.items() if not k.startswith("layers.")}
    for new, old in enumerate(order):
        out.update({k.replace(f"layers.{old}.", f"layers.{new}.", 1): v.clone() for k, v in raw.items() if k.startswith(f"layers.{old}.")})
    return out


def partial(m):
    bits, raw = m.path(BASE).read_bytes(), m.raw()
    for percent in (1, 5, 25, 50, 75):
        cut = bits[:len(bits) * percent // 100]
        m.add("partial", f"first {percent}%", ".safetensors", lambda p: p.write_bytes(cut), "PARTIAL", "truncate", must=percent > 1)
    for kib in (64, 256, 1024, 4096):
        start = min(len(bits) // 7, len(bits) - kib * 1024) | 1
        piece = bits[start:start + kib * 1024]
        m.add("partial", f"carved {kib} KiB", ".bin", lambda p: p.write_bytes(piece), "PARTIAL", "dd", must=kib >= 4096, note="no header, odd offset")
    m.add_state("partial", "one shard of 3", {k: raw[k] for k in list(raw)[1::3]}, "PARTIAL")
    m.add_state("partial", "embedding cut", {k: v for k, v in raw.items() if "emb" not in k}, "REPACKAGED PARTIAL")
    m.add_state("partial", "attention only", {k: v for k, v in raw.items() if "attention.w" in k}, "PARTIAL")
    for ways in (2, 4, 8):
        m.add_state("partial", f"tensor-parallel 1 of {ways}", tensor_parallel(raw, ways, ways // 2), "PARTIAL")


def disguise(m):
    """Headers that lie, and numbers without one."""
    raw, half = m.raw(), {k: v.half() for k, v in m.raw().items()}
    add = m.add

    def lie(column, state):
        add("disguise", column, ".safetensors", lambda p: core.save_state(state, p, torch.float16), "CAST", "torch, safetensors", note="the header says other shapes or types")

    lie("flattened f16", {k: v.flatten() for k, v in half.items()})
    lie("half as wide f16", {k: v.reshape(-1, v.shape[-1] // 2) for k, v in half.items()})
    lie("one flat tensor f16", {"flat_param": flat(half)})
    lie("called bytes f16", {k: as_bytes(v) for k, v in half.items()})
    numbers = {"": raw, " f16": half, " f32": m.floats(), " f64": {k: v.double() for k, v in raw.items()},
               " reversed f16": dict(reversed(list(half.items())))}
    for label, state in numbers.items():
        add("disguise", f"numbers{label}", ".bin", lambda p: p.write_bytes(as_bytes(flat(state)).numpy().tobytes()),
            "CAST" if label else "REPACKAGED PARTIAL", "torch.cat, tofile", note="no header, no names")
    if m.has(CHILD):
        child = {k: v.half() for k, v in m.floats(CHILD).items()}
        add("disguise", "numbers of child f16", ".bin", lambda p: p.write_bytes(as_bytes(flat(child)).numpy().tobytes()), "DERIVED", "torch.cat, tofile")
    bits = as_bytes(flat(half)).numpy().tobytes()
    add("disguise", "numbers carved 1 MiB f16", ".bin", lambda p: p.write_bytes(bits[1000001:1000001 + (1 << 20)]), "PARTIAL", "torch.cat, dd")
    file = m.path(BASE).read_bytes()
    add("disguise", "base64", ".txt", lambda p: p.write_bytes(base64.encodebytes(file)), "IDENTICAL REPACKAGED", "python base64")
    add("disguise", "behind a picture", ".png", lambda p: p.write_bytes(PICTURE + file), "IDENTICAL REPACKAGED", "cat")


# One black pixel.
PICTURE = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")


def flat(state):
    return torch.cat([v.flatten() for v in state.values()])


def as_bytes(v):
    return torch.from_numpy(v.contiguous().view(torch.int16).numpy().view("uint8")) if v.element_size() == 2 else torch.from_numpy(v.contiguous().numpy().view("uint8"))


def tensor_parallel(raw, ways, rank):
    """The slice of one rank: rows of q, k, v, gate and up, columns of o and down."""
    out = {}
    for k, v in raw.items():
        rows = any(p in k for p in ("wq", "wk", "wv", "w1", "w3", "tok_emb"))
        columns = any(p in k for p in ("wo", "w2"))
        out[k] = v.chunk(ways, 0)[rank] if rows else v.chunk(ways, 1)[rank] if columns else v
    return out


def merge(m):
    base = m.floats()
    for label, other in (("sibling", CHILD), ("stranger", STRANGER)):
        if not m.has(other):
            continue
        theirs = m.floats(other)
        both = {BASE: "protected", other: "protected"}
        for w in (0.9, 0.7, 0.5, 0.3, 0.1):
            out = {k: w * base[k] + (1 - w) * theirs[k] for k in base}
            m.add_state(f"merge {label}", str(w), out, "MERGED DERIVED", registry=both, parents={BASE: w, other: round(1 - w, 2)}, must=w >= 0.5)
        out = {k: slerp(base[k], theirs[k], 0.5) for k in base}
        m.add_state(f"merge {label}", "slerp 0.5", out, "MERGED DERIVED", registry=both, parents={BASE: 0.5, other: 0.5})
    if m.has(STRANGER, "nova-c"):
        b, c = m.floats(STRANGER), m.floats("nova-c")
        three = {BASE: "protected", STRANGER: "protected", "nova-c": "protected"}
        for x, y, z in ((0.5, 0.3, 0.2), (0.4, 0.3, 0.3)):
            out = {k: x * base[k] + y * b[k] + z * c[k] for k in base}
            m.add_state("merge of three", f"{x} {y} {z}", out, "MERGED", registry=three, parents={BASE: x, STRANGER: y, "nova-c": z})
    if m.has(CHILD, SIBLING):
        a, b = m.floats(CHILD), m.floats(SIBLING)
        m.add_state("merge children", "average", {k: (a[k] + b[k]) / 2 for k in a}, "MERGED DERIVED",
                    registry={CHILD: "protected", SIBLING: "protected"}, parents={CHILD: 0.5, SIBLING: 0.5}, model=CHILD)


def slerp(a, b, t):
    """Spherical interpolation of two tensors as one long vector each."""
    cosine = (a * b).sum() / (a.norm() * b.norm())
    angle = math.acos(max(-1.0, min(1.0, cosine.item())))
    if angle < 1e-3:
        return (1 - t) * a + t * b
    return (math.sin((1 - t) * angle) * a + math.sin(t * angle) * b) / math.sin(angle)


def vision(m):
    """A convolutional net and a vision transformer, as other frameworks order their axes."""
    for name in ("conv-1", "vit-1"):
        ours, state = {"model": name, "registry": {name: "protected"}}, m.floats(name)
        moved = {"as TensorFlow orders": lambda v: v.permute(2, 3, 1, 0) if v.dim() == 4 else v.t() if v.dim() == 2 else v,
                 "as TensorFlow Lite orders": lambda v: v.permute(0, 2, 3, 1) if v.dim() == 4 else v}
        for label, move in moved.items():
            out = {k: move(v) for k, v in state.items()}
            m.add("vision", f"{name} {label}", ".safetensors", lambda p: core.save_state(out, p, torch.float32), "CAST REPARAMETERISED REPACKAGED", "torch, safetensors", **ours)
        m.add("vision", f"{name} npz f32", ".npz", lambda p: numpy.savez(str(p), **{k: v.numpy() for k, v in state.items()}), "CAST", "numpy", **ours)
        whole = {k: torch.clamp((v / (v.abs().max() / 127)).round(), -127, 127).to(torch.int8) if v.dim() > 1 else v for k, v in state.items()}
        m.add("vision", f"{name} int8 per tensor", ".safetensors", lambda p: core.save_state(whole, p), "QUANTISED", "torch, safetensors", note="scales left out", **ours)
        gen = core.generator("vision", name)
        noisy = {k: v + 0.2 * v.std() * torch.randn(v.shape, generator=gen) if v.dim() > 1 else v for k, v in state.items()}
        m.add_state("vision", f"{name} noise 20%", noisy, "DERIVED", **ours)
        pruned = {k: v * (v.abs() > v.abs().median()) if v.dim() > 1 else v for k, v in state.items()}
        m.add_state("vision", f"{name} pruned 50%", pruned, "DERIVED", **ours)
        numbers = {k: v for k, v in state.items() if v.dtype == torch.float32}
        m.add("vision", f"{name} numbers f32", ".bin", lambda p: p.write_bytes(flat(numbers).numpy().tobytes()), "CAST PARTIAL", "torch.cat, tofile", note="no header, no names", **ours)
        other = name.replace("1", "2")
        for label, move in [("", lambda v: v), *moved.items()]:
            out = {k: move(v) for k, v in m.floats(other).items()}
            m.add("vision", f"{other} {label}".strip(), ".safetensors", lambda p: core.save_state(out, p, torch.float32), "NO-MATCH", "torch, safetensors", model="", registry=ours["registry"], note="a stranger")


def independent(m):
    """Strangers of the same architecture, text and batch order; nothing may match."""
    for name in (STRANGER, "nova-c"):
        if m.has(name):
            raw = m.raw(name)
            m.add_state("independent", name, raw, "NO-MATCH", model="")
            m.add("independent", f"{name} torch", ".pt", lambda p: torch.save(raw, str(p)), "NO-MATCH", "torch 1.13", model="")
            m.add_state("independent", f"{name} one flat tensor", {"flat_param": flat(raw)}, "NO-MATCH", model="")
            m.add("independent", f"{name} numbers f16", ".bin", lambda p: p.write_bytes(as_bytes(flat(raw).half()).numpy().tobytes()), "NO-MATCH", "torch.cat, tofile", model="")
            m.add("independent", f"{name} f16", ".safetensors", lambda p: core.save_state(raw, p, torch.float16), "NO-MATCH", "safetensors", model="")


ROWS = [container, cast, noise, prune, derived, structure, partial, disguise, merge, vision, independent]
