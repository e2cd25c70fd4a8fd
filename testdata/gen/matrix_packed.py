"""Rows of the evasion matrix: quantised files.

ggml types are quantised by llama.cpp's own code (ggml.sh). GPTQ, AWQ, NF4 and
the others are plain round-to-nearest in the layouts that their public packing
code writes; a calibrated quantiser rounds a few weights the other way.
"""
import ctypes
import json
import pathlib

import ml_dtypes
import numpy
import torch
from safetensors.numpy import save_file

import glu
import matrix_core as core
from matrix_core import BASE

LIBRARY = pathlib.Path(__file__).parents[2] / ".venv" / "libggml-quants.so"
GGML = ["Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "IQ4_XS", "IQ4_NL", "MXFP4", "Q3_K", "IQ3_S", "IQ3_XXS",
        "Q2_K", "IQ2_S", "IQ2_XS", "IQ2_XXS", "TQ2_0", "TQ1_0", "IQ1_M", "IQ1_S"]
NEEDS_IMPORTANCE = {"IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"}


class Quantiser:
    """ggml_quantize_chunk of llama.cpp."""

    def __init__(self):
        self.lib = ctypes.CDLL(str(LIBRARY), mode=1)  # 1 is RTLD_LAZY: only part of ggml is linked
        self.lib.ggml_quantize_chunk.restype = ctypes.c_size_t
        self.lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]

    def __call__(self, array, kind):
        """Packed rows (uint8) of a float32 matrix. The importance of every column
        is 1 where a type insists on having one."""
        import gguf
        number = gguf.GGMLQuantizationType[kind]
        block, size = gguf.GGML_QUANT_SIZES[number]
        array = numpy.ascontiguousarray(array, numpy.float32)
        rows, columns = array.shape
        out = numpy.zeros((rows, columns // block * size), numpy.uint8)
        weights = numpy.ones(columns, numpy.float32) if kind in NEEDS_IMPORTANCE else None
        self.lib.ggml_quantize_chunk(int(number), array.ctypes.data, out.ctypes.data, 0, rows, columns,
                                     weights.ctypes.data if weights is not None else None)
        return out


def write_gguf(state, path, kind, quantiser):
    """Every matrix of the type, the embedding Q8_0, vectors F32."""
    import gguf
    w = gguf.GGUFWriter(str(path), "llama")
    for name, t in state.items():
        array = t.float().numpy()
        if array.ndim == 1:
            w.add_tensor(glu.gguf_name(name), array)
        else:
            one = "Q8_0" if name.startswith("tok_embeddings") else kind
            w.add_tensor(glu.gguf_name(name), quantiser(array, one), raw_dtype=gguf.GGMLQuantizationType[one])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def ggml(m):
    state, quantiser = m.floats(), Quantiser()
    for kind in GGML:
        m.add("ggml", kind, ".gguf", lambda p: write_gguf(state, p, kind, quantiser), "QUANTISED", "llama.cpp, gguf",
              must=not kind.startswith(("TQ", "IQ1")))


def nibbles(q, order=range(8)):
    """Packs the last axis, eight 4-bit numbers in an int32: number order[i] of
    eight goes to bits 4i."""
    q = q.reshape(*q.shape[:-1], -1, 8).astype(numpy.uint32)
    out = numpy.zeros(q.shape[:-1], numpy.uint32)
    for i, j in enumerate(order):
        out |= q[..., j] << numpy.uint32(4 * i)
    return out.view(numpy.int32)


def affine(w, group, low, high):
    """Round-to-nearest with a scale and a zero point for every group of the last
    axis: integers low..high, scales, zero points."""
    g = w.reshape(w.shape[0], -1, group)
    top, bottom = numpy.maximum(g.max(-1), 0), numpy.minimum(g.min(-1), 0)
    scale = numpy.maximum((top - bottom) / (high - low), 1e-8).astype(numpy.float16).astype(numpy.float32)
    zero = numpy.clip(numpy.round(low - bottom / scale), low, high)
    q = numpy.clip(numpy.round(g / scale[..., None]) + zero[..., None], low, high)
    return q.reshape(w.shape), scale, zero


def gptq(prefix, w, order=None):
    """AutoGPTQ, 4 bits, groups of 128 inputs; order: the act-order permutation."""
    inputs = numpy.arange(w.shape[1]) if order is None else order
    q, scale, zero = affine(w[:, inputs], 128, 0, 15)
    groups = numpy.empty(w.shape[1], numpy.int32)
    groups[inputs] = numpy.arange(w.shape[1]) // 128
    back = numpy.empty_like(q)
    back[:, inputs] = q
    return {f"{prefix}.qweight": nibbles(back).T.copy(), f"{prefix}.qzeros": nibbles((zero.T - 1) % 16),
            f"{prefix}.scales": scale.T.astype(numpy.float16), f"{prefix}.g_idx": groups}


def gptq_act_order(prefix, w):
    return gptq(prefix, w, numpy.argsort(-(w * w).sum(0), kind="stable"))


def awq(prefix, w):
    """AutoAWQ's GEMM layout: inputs by rows, eight outputs interleaved."""
    q, scale, zero = affine(w, 128, 0, 15)
    order = (0, 2, 4, 6, 1, 3, 5, 7)
    return {f"{prefix}.qweight": nibbles(q.T.copy(), order), f"{prefix}.qzeros": nibbles(zero.T.copy(), order),
            f"{prefix}.scales": scale.T.astype(numpy.float16)}


NF4 = numpy.array([-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0, 0.0795803, 0.1609302,
                   0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0], numpy.float32)


def nf4(prefix, w):
    """bitsandbytes NF4 in blocks of 64, first number in the high nibble."""
    g = w.reshape(-1, 64)
    absmax = numpy.abs(g).max(1)
    code = numpy.abs((g / absmax[:, None])[..., None] - NF4).argmin(-1).astype(numpy.uint8).reshape(-1)
    state = json.dumps({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": list(w.shape)}).encode()
    return {f"{prefix}.weight": (code[0::2] << 4 | code[1::2]).reshape(-1, 1), f"{prefix}.weight.absmax": absmax,
            f"{prefix}.weight.quant_map": NF4, f"{prefix}.weight.quant_state.bitsandbytes__nf4": numpy.frombuffer(state, numpy.uint8)}


def bnb_int8(prefix, w):
    """bitsandbytes LLM.int8: one scale a row."""
    top = numpy.abs(w).max(1)
    return {f"{prefix}.weight": numpy.round(w / top[:, None] * 127).astype(numpy.int8), f"{prefix}.SCB": top}


def int8_tensor(prefix, w):
    scale = numpy.abs(w).max() / 127
    return {f"{prefix}.weight": numpy.round(w / scale).astype(numpy.int8), f"{prefix}.weight_scale": numpy.array([scale], numpy.float32)}


def int8_asymmetric(prefix, w):
    """One scale and zero point a row, unsigned."""
    q, scale, zero = affine(w, w.shape[1], 0, 255)
    return {f"{prefix}.weight": q.astype(numpy.uint8), f"{prefix}.scale": scale, f"{prefix}.zero_point": zero.astype(numpy.uint8)}


def fp8_blocks(prefix, w):
    """DeepSeek-V3: E4M3 with a scale for every 128 x 128 block."""
    rows, columns = w.shape
    g = w.reshape(rows // 128, 128, columns // 128, 128)
    scale = numpy.abs(g).max((1, 3)) / 448
    q = (g / scale[:, None, :, None]).reshape(w.shape).astype(ml_dtypes.float8_e4m3fn)
    return {f"{prefix}.weight": q, f"{prefix}.weight_scale_inv": scale.astype(numpy.float32)}


def fp8_tensor(prefix, w):
    scale = numpy.abs(w).max() / 448
    return {f"{prefix}.weight": (w / scale).astype(ml_dtypes.float8_e4m3fn), f"{prefix}.weight_scale": numpy.array([scale], numpy.float32)}


E2M1 = numpy.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], numpy.float32)


def mxfp4(prefix, w):
    """gpt-oss: blocks of 32, a power of two each, first number in the low nibble."""
    g = w.reshape(w.shape[0], -1, 32)
    exponent = numpy.floor(numpy.log2(numpy.maximum(numpy.abs(g).max(-1), 1e-30))) - 2
    code = numpy.abs((g / numpy.exp2(exponent)[..., None])[..., None] - E2M1).argmin(-1).astype(numpy.uint8)
    return {f"{prefix}_blocks": code[..., 0::2] | code[..., 1::2] << 4, f"{prefix}_scales": (exponent + 127).astype(numpy.uint8)}


def mlx(bits):
    def pack(prefix, w):
        """MLX: groups of 64 of the row, value = scale * q + bias."""
        q, scale, zero = affine(w, 64, 0, 2**bits - 1)
        packed = nibbles(q).view(numpy.uint32) if bits == 4 else q.astype(numpy.uint8).view(numpy.uint32)
        return {f"{prefix}.weight": packed, f"{prefix}.scales": scale.astype(numpy.float16),
                f"{prefix}.biases": (-zero * scale).astype(numpy.float16)}
    return pack


def compressed(prefix, w):
    """compressed-tensors pack-quantized: symmetric groups of 128, stored plus 8."""
    g = w.reshape(w.shape[0], -1, 128)
    scale = (numpy.abs(g).max(-1) / 7.5).astype(numpy.float16).astype(numpy.float32)
    q = numpy.clip(numpy.round(g / scale[..., None]), -8, 7).reshape(w.shape) + 8
    return {f"{prefix}.weight_packed": nibbles(q), f"{prefix}.weight_scale": scale.astype(numpy.float16),
            f"{prefix}.weight_shape": numpy.array(w.shape, numpy.int64)}


PACKINGS = {"GPTQ 4 bit": gptq, "GPTQ act-order": gptq_act_order, "AWQ 4 bit": awq, "bitsandbytes NF4": nf4, "bitsandbytes int8": bnb_int8,
            "int8 per tensor": int8_tensor, "uint8 per row": int8_asymmetric, "FP8 128x128 blocks": fp8_blocks, "FP8 per tensor": fp8_tensor,
            "MXFP4": mxfp4, "MLX 4 bit": mlx(4), "MLX 8 bit": mlx(8), "compressed-tensors 4 bit": compressed}


def pack_state(state, pack, path):
    out = {}
    targets = set(core.matrices(state))
    for name, t in state.items():
        array = t.numpy()
        if name in targets:
            out.update(pack(name.removesuffix(".weight"), array))
        else:
            out[name] = array.astype(numpy.float16)
    save_file({k: numpy.ascontiguousarray(v) for k, v in out.items()}, str(path), {"format": "pt"})


def packed(m):
    state = m.floats()
    for name, pack in PACKINGS.items():
        m.add("packed", name, ".safetensors", lambda p: pack_state(state, pack, p), "QUANTISED", "own packing, safetensors")
    m.add("packed", "torch dynamic int8", ".pt", lambda p: torch.save(dynamic_int8(m), str(p)), "QUANTISED", "torch 1.13")
    scaled = migrate_scales(state)
    m.add("packed", "AWQ with scales", ".safetensors", lambda p: pack_state(scaled, awq, p), "QUANTISED DERIVED REPARAMETERISED", "own packing, safetensors",
          note="input scales moved into the norms first, as AWQ and SmoothQuant do")
    m.add("packed", "SmoothQuant int8", ".safetensors", lambda p: pack_state(scaled, bnb_int8, p), "QUANTISED DERIVED REPARAMETERISED", "own packing, safetensors")


def dynamic_int8(m):
    model = glu.GLUModel(glu.Config(dim=core.DIM, layers=core.LAYERS, heads=core.HEADS, kv_heads=core.KV_HEADS, hidden=core.HIDDEN))
    model.load_state_dict(m.floats())
    return torch.quantization.quantize_dynamic(model, {torch.nn.Linear}, torch.qint8).state_dict()


def migrate_scales(state):
    """Multiplies input columns by sqrt of their size and divides the norm by it."""
    out = dict(state)
    for i in range(core.LAYERS):
        for norm, parts in (("attention_norm", ("attention.wq", "attention.wk", "attention.wv")), ("ffn_norm", ("feed_forward.w1", "feed_forward.w3"))):
            size = torch.stack([state[core.layer(i, p)].abs().amax(0) for p in parts]).amax(0)
            s = (size / size.mean()).sqrt().clamp(0.25, 4)
            out[core.layer(i, norm)] = state[core.layer(i, norm)] / s
            for p in parts:
                out[core.layer(i, p)] = state[core.layer(i, p)] * s
    return out


def lineage(m):
    """Which of base, child and sibling is it? The base is public, the child protected."""
    if not m.has(core.CHILD, core.SIBLING):
        return
    quantiser = Quantiser()
    for registered in (core.CHILD, "nova-a-nudge"):
        if not m.has(registered):
            continue
        registry = {BASE: "public", registered: "protected"}
        short = registered.removeprefix("nova-a-")
        for suspect in (BASE, registered, core.SIBLING):
            mine = suspect == registered
            must = registered == core.CHILD or suspect != core.SIBLING  # the nudge moved less than 1 %
            expected = {True: "IDENTICAL QUANTISED DERIVED", False: "PUBLIC-BASE"}[mine]
            model = registered if mine else BASE
            label = f"{suspect} against {short}"
            m.add_state("lineage", f"{label} bf16", m.raw(suspect), expected, model=model, registry=registry, must=must)
            for kind in ("Q8_0", "Q6_K", "Q4_K", "Q4_0"):
                state = m.floats(suspect)
                m.add("lineage", f"{label} {kind}", ".gguf", lambda p: write_gguf(state, p, kind, quantiser), expected,
                      "llama.cpp, gguf", model=model, registry=registry, must=must)


ROWS = [ggml, packed, lineage]
