"""Writes testdata/quant/families/CASE.safetensors: small weights packed the ways
quantisers pack them, each with the tensor "expected" that a reader must make of it.

    pip install numpy safetensors ml_dtypes 'mlx[cpu]' bitsandbytes
    python families.py ../../quant/families path/to/libbitsandbytes_cpu.so

MLX and bitsandbytes are the real libraries (mlx 0.32.4; the CPU library of
bitsandbytes 0.50.2 through ctypes). The variants of GPTQ that AutoGPTQ does not
write, compressed-tensors, ModelOpt, gpt-oss, DeepSeek and ONNX Runtime layouts are
packed here in numpy after their public descriptions, and "expected" is computed
from the codes before packing. See torch_families.py for GPTQ and AWQ proper.
"""
import ctypes
import json
import pathlib
import sys

import ml_dtypes
import mlx.core as mx
import numpy as np
from safetensors.numpy import save_file

out_dir = pathlib.Path(sys.argv[1])
bnb = ctypes.CDLL(sys.argv[2])
rng = np.random.default_rng(20261122)
OUT, IN, GROUP = 32, 256, 64


def weights(*shape):
    """Heavy-tailed, with rows and columns of different size, as real ones are."""
    w = rng.standard_t(5, shape) * 0.02
    return (w * np.exp(rng.normal(0, 0.3, shape[:-1] + (1,))) * np.exp(rng.normal(0, 0.2, shape[-1:]))).astype(np.float32)


def save(case, expected, **tensors):
    t = {name.replace("__", "."): np.ascontiguousarray(x) for name, x in tensors.items()}
    t["expected"] = np.ascontiguousarray(expected.astype(np.float32))
    save_file(t, out_dir / (case + ".safetensors"))


def stream(codes, bits):
    """Codes along the last axis as one stream of 32-bit words, low bits first."""
    b = (codes[..., None].astype(np.uint32) >> np.arange(bits, dtype=np.uint32)) & 1
    b = b.reshape(codes.shape[:-1] + (-1,)).astype(np.uint8)
    pad = -b.shape[-1] % 32
    b = np.concatenate([b, np.zeros(b.shape[:-1] + (pad,), np.uint8)], axis=-1)
    return np.packbits(b, axis=-1, bitorder="little").view(np.uint32)


def asymmetric(w, bits, group):
    """Codes, scales and zero points of groups along the last axis."""
    g = w.reshape(w.shape[0], -1, group)
    low, high = np.minimum(g.min(-1), 0), np.maximum(g.max(-1), 0)
    scale = ((high - low) / (2**bits - 1)).astype(np.float16)
    zero = np.clip(np.round(-low / scale.astype(np.float32)), 1, 2**bits - 1)
    q = np.clip(np.round(g / scale[..., None].astype(np.float32)) + zero[..., None], 0, 2**bits - 1)
    return q.reshape(w.shape).astype(np.uint32), scale, zero.astype(np.uint32)


def symmetric(w, bits, group):
    g = w.reshape(w.shape[0], -1, group)
    scale = (np.abs(g).max(-1) / (2 ** (bits - 1) - 1)).astype(np.float16)
    q = np.clip(np.round(g / scale[..., None].astype(np.float32)), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return q.reshape(w.shape).astype(np.int32), scale


def spread(x, group):
    return np.repeat(x.astype(np.float32), group, axis=-1)


def gptq(case, bits, v2=False, sym=False, index=True):
    q, scale, zero = asymmetric(weights(OUT, IN), bits, GROUP)
    if sym:
        zero[:] = 2 ** (bits - 1)
    g_idx = np.arange(IN) // GROUP
    expected = (q.astype(np.float32) - zero[:, g_idx].astype(np.float32)) * scale[:, g_idx].astype(np.float32)
    qweight = stream(q, bits).T.astype(np.int32)
    qzeros = stream((zero - (0 if v2 else 1)).T, bits).astype(np.int32)
    p = "model.layers.0.self_attn.q_proj."
    t = {p + "qweight": qweight, p + "qzeros": qzeros, p + "scales": scale.T}
    if index:
        t[p + "g_idx"] = g_idx.astype(np.int32)
    save(case, expected, **t)


NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
                -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], np.float32)
FP4 = np.array([0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3], np.float32) / 12


def pointer(x):
    return ctypes.c_void_p(x.ctypes.data)


def bnb_dequantise(kind, packed, absmax, n):
    y = np.zeros(n, np.float32)
    f = getattr(bnb, "cdequantize_blockwise_cpu_%s_fp32" % kind)
    f(pointer(packed), pointer(absmax), pointer(y), ctypes.c_longlong(64), ctypes.c_longlong(1), ctypes.c_longlong(n))
    return y


def bitsandbytes(kind, table, nested):
    w = weights(OUT, IN).flatten()
    blocks = w.reshape(-1, 64)
    absmax = np.abs(blocks).max(-1)
    q = np.abs(blocks[:, :, None] / absmax[:, None, None] - table).argmin(-1).astype(np.uint8).flatten()
    packed = (q[0::2] << 4 | q[1::2]).astype(np.uint8)
    p = "model.layers.0.self_attn.k_proj.weight"
    state = {"quant_type": kind, "blocksize": 64, "dtype": "float16", "shape": [OUT, IN]}
    t = {p: packed.reshape(-1, 1), p + ".quant_map": table}
    if nested:
        offset = float(absmax.mean())
        code = np.sort(np.concatenate([np.linspace(-1, 1, 255), [0.003]])).astype(np.float32)
        most = np.array([np.abs(absmax - offset).max()], np.float32)
        byte = np.abs((absmax - offset)[:, None] / most[0] - code).argmin(-1).astype(np.uint8)
        absmax = np.zeros(byte.size, np.float32)
        bnb.cdequantize_blockwise_cpu_fp32(pointer(code), pointer(byte), pointer(most), pointer(absmax), ctypes.c_longlong(256),
                                           ctypes.c_longlong(byte.size))
        absmax += np.float32(offset)
        state.update(nested_blocksize=256, nested_dtype="float32", nested_offset=offset)
        t.update({p + ".absmax": byte, p + ".nested_absmax": most, p + ".nested_quant_map": code})
    else:
        t[p + ".absmax"] = absmax
    t[p + ".quant_state.bitsandbytes__" + kind] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    expected = bnb_dequantise(kind, packed, absmax, w.size)
    save("bnb_" + kind + ("_nested" if nested else ""), expected.reshape(OUT, IN), **t)


def compressed():
    p = "model.layers.0.mlp.up_proj.weight"
    shape = np.array([OUT, IN], np.int64)
    for bits in (4, 8, 3):
        q, scale = symmetric(weights(OUT, IN), bits, GROUP)
        save("ct_int%d_group" % bits, q * spread(scale, GROUP), **{p + "_packed": stream(q + 2 ** (bits - 1), bits).view(np.int32),
                                                                  p + "_scale": scale,
                                                                  p + "_shape": shape})
    q, scale = symmetric(weights(OUT, IN), 4, IN)
    save("ct_int4_channel", q * scale.astype(np.float32), **{p + "_packed": stream(q + 8, 4).view(np.int32), p + "_scale": scale, p + "_shape": shape})
    q, scale, zero = asymmetric(weights(OUT, IN), 4, GROUP)
    save("ct_int4_zero_point", (q - spread(zero, GROUP)) * spread(scale, GROUP),
         **{p + "_packed": stream(q, 4).view(np.int32), p + "_scale": scale, p + "_shape": shape,
            p + "_zero_point": np.ascontiguousarray(stream(zero.T, 4).T).view(np.int32)})
    g_idx = rng.permutation(np.arange(IN) // GROUP)
    q, scale = symmetric(weights(OUT, IN), 4, GROUP)
    save("ct_int4_act_order", q * scale[:, g_idx].astype(np.float32),
         **{p + "_packed": stream(q + 8, 4).view(np.int32), p + "_scale": scale, p + "_shape": shape, p + "_g_idx": g_idx.astype(np.int32)})


E4M3, E2M1 = ml_dtypes.float8_e4m3fn, ml_dtypes.float4_e2m1fn


def fp8():
    w = weights(140, 160)
    pad = np.pad(w, ((0, 116), (0, 96))).reshape(2, 128, 2, 128)
    scale = (np.abs(pad).max((1, 3)) / 448).astype(np.float32)
    full = np.repeat(np.repeat(scale, 128, 0), 128, 1)[:140, :160]
    q = (w / full).astype(E4M3)
    p = "model.layers.0.mlp.gate_proj.weight"
    save("fp8_block", q.astype(np.float32) * full, **{p: q, p + "_scale_inv": scale})
    row = (np.abs(w).max(1, keepdims=True) / 448).astype(np.float32)
    q = (w / row).astype(E4M3)
    save("fp8_row", q.astype(np.float32) * row, **{p: q, p + "_scale": row})
    one = np.array([np.abs(w).max() / 448], np.float32)
    q = (w / one).astype(E4M3)
    save("fp8_tensor", q.astype(np.float32) * one, **{p: q, p + "_scale": one, p.replace("weight", "input_scale"): np.array([0.01], np.float32)})
    e = weights(2, 64, 256)
    scale = np.abs(e.reshape(2, 1, 64, 2, 128)).max((2, 4)).astype(np.float32) / 448
    full = np.repeat(np.repeat(scale, 64, 1), 128, 2)
    q = (e / full).astype(E4M3)
    save("fp8_experts", q.astype(np.float32) * full, **{"model.layers.0.mlp.experts.w1": q, "model.layers.0.mlp.experts.w1_scale_inv": scale})
    power = np.exp2(np.ceil(np.log2(np.abs(w.reshape(140, 5, 32)).max(-1) / 448)))
    q = (w / np.repeat(power, 32, 1)).astype(E4M3)
    save("mxfp8", q.astype(np.float32) * np.repeat(power, 32, 1), **{p: q, p + "_scale": (np.log2(power) + 127).astype(np.uint8)})


def nibbles(x):
    c = x.astype(E2M1).view(np.uint8)
    return c[..., 0::2] | c[..., 1::2] << 4


def fp4():
    w = weights(2, 16, IN)
    power = np.exp2(np.floor(np.log2(np.abs(w.reshape(2, 16, -1, 32)).max(-1))) - 2).astype(np.float32)
    q = (w / np.repeat(power, 32, -1)).astype(E2M1)
    expected = q.astype(np.float32) * np.repeat(power, 32, -1)
    exponent = (np.log2(power) + 127).astype(np.uint8)
    save("mxfp4_blocks", expected, **{"model.layers.0.mlp.experts.gate_up_proj_blocks": nibbles(q).reshape(2, 16, IN // 32, 16),
                                      "model.layers.0.mlp.experts.gate_up_proj_scales": exponent})
    p = "model.layers.0.mlp.down_proj.weight"
    save("mxfp4_packed", expected[0], **{p + "_packed": nibbles(q[0]), p + "_scale": exponent[0]})
    w = weights(OUT, IN)
    whole = np.float32(np.abs(w).max() / (6 * 448))
    scale = (np.abs(w.reshape(OUT, -1, 16)).max(-1) / 6 / whole).astype(E4M3)
    step = np.repeat(scale.astype(np.float32) * whole, 16, -1)
    q = (w / np.where(step == 0, 1, step)).astype(E2M1)
    expected = q.astype(np.float32) * step
    save("nvfp4_modelopt", expected, **{p: nibbles(q), p + "_scale": scale, p + "_scale_2": np.array(whole), p.replace("weight", "input_scale"): np.array(whole * 3)})
    inverse = np.float32(1 / whole)
    scale = (np.abs(w.reshape(OUT, -1, 16)).max(-1) / 6 * inverse).astype(E4M3)
    step = np.repeat(scale.astype(np.float32) / inverse, 16, -1)
    q = (w / np.where(step == 0, 1, step)).astype(E2M1)
    save("nvfp4_packed", q.astype(np.float32) * step, **{p + "_packed": nibbles(q), p + "_scale": scale, p + "_global_scale": np.array([inverse])})


def mlx():
    p = "model.layers.0.self_attn.v_proj."
    for bits, group in ((2, 64), (3, 64), (4, 64), (5, 32), (6, 128), (8, 32), (8, 64)):
        w = mx.array(weights(OUT, IN))
        q, s, b = mx.quantize(w, group_size=group, bits=bits)
        y = mx.dequantize(q, s, b, group_size=group, bits=bits)
        save("mlx_%dbit_%d" % (bits, group), np.array(y), **{p + "weight": np.array(q), p + "scales": np.array(s), p + "biases": np.array(b)})
    w = mx.array(weights(2, 16, IN))
    q, s, b = mx.quantize(w, group_size=64, bits=4)
    save("mlx_experts", np.array(mx.dequantize(q, s, b, group_size=64, bits=4)),
         **{"model.layers.0.mlp.switch_mlp.up_proj.weight": np.array(q), "model.layers.0.mlp.switch_mlp.up_proj.scales": np.array(s),
            "model.layers.0.mlp.switch_mlp.up_proj.biases": np.array(b)})
    for mode in ("mxfp4", "nvfp4", "mxfp8"):
        q, s = mx.quantize(mx.array(weights(OUT, IN)), mode=mode)
        save("mlx_" + mode, np.array(mx.dequantize(q, s, mode=mode).astype(mx.float32)), **{p + "weight": np.array(q), p + "scales": np.array(s)})


def integers():
    w = weights(OUT, IN)
    row = (np.abs(w).max(1) / 127).astype(np.float32)
    q = np.round(w / row[:, None]).astype(np.int8)
    p = "model.layers.0.self_attn.o_proj."
    bias = rng.normal(0, 0.01, OUT).astype(np.float32)
    save("int8_row", q * row[:, None], **{p + "weight": q, p + "weight_scale": row.reshape(-1, 1), p + "bias": bias})
    save("int8_llm", q.astype(np.float32) * ((row * 127)[:, None] * np.float32(1 / 127)),
         **{p + "weight": q, p + "SCB": row * 127, p + "weight_format": np.array(0, np.uint8)})
    one = np.float32(np.abs(w).max() / 127)
    q = np.round(w / one).astype(np.int8)
    save("int8_tensor", q * one, **{p + "weight": q, p + "weight_scale": np.array(one)})
    conv = weights(16, 8, 3, 3)
    channel = (np.abs(conv).max((1, 2, 3)) / 127).astype(np.float32)
    q = np.round(conv / channel[:, None, None, None]).astype(np.int8)
    save("int8_conv", (q * channel[:, None, None, None]).reshape(16, 72), **{"onnx::Conv_81_quantized": q, "onnx::Conv_81_scale": channel})
    low, high = w.min(), w.max()
    one, zero = np.float32((high - low) / 255), np.uint8(np.round(-low / ((high - low) / 255)))
    q = np.clip(np.round(w / one) + zero, 0, 255).astype(np.uint8)
    save("uint8_onnx", (q.astype(np.float32) - zero) * one,
         **{"onnx::MatMul_12_quantized": q, "onnx::MatMul_12_scale": np.array(one), "onnx::MatMul_12_zero_point": np.array(zero)})
    column = (np.abs(w).max(0) / 127).astype(np.float32)
    q = np.round(w / column).astype(np.int8)
    save("int8_column", q * column, **{"onnx::MatMul_13_quantized": q, "onnx::MatMul_13_scale": column})
    for name, zeros in (("nbits", True), ("nbits_symmetric", False)):
        q, scale, zero = asymmetric(weights(OUT, IN), 4, 32)
        if not zeros:
            zero[:] = 8
        scale = scale.astype(np.float32)
        t = {"layers.0.fc.MatMul.weight_Q4": stream(q, 4).view(np.uint8).reshape(OUT, IN // 32, 16), "layers.0.fc.MatMul.weight_scales": scale.flatten()}
        if zeros:
            t["layers.0.fc.MatMul.weight_zero_points"] = stream(zero, 4).view(np.uint8).flatten()
        save(name, (q - spread(zero, 32)) * spread(scale, 32), **t)
    for name, zeros in (("nbits_8", True), ("nbits_8_symmetric", False)):
        q, scale, zero = asymmetric(weights(OUT, IN), 8, 32)
        if not zeros:
            zero[:] = 128
        scale = scale.astype(np.float32)
        t = {"layers.0.fc.MatMul.weight_Q8": q.astype(np.uint8).reshape(OUT, IN // 32, 32), "layers.0.fc.MatMul.weight_scales": scale.flatten()}
        if zeros:
            t["layers.0.fc.MatMul.weight_zero_points"] = zero.astype(np.uint8).flatten()
        save(name, (q - spread(zero, 32)) * spread(scale, 32), **t)


gptq("gptq_4bit_v2", 4, v2=True)
gptq("gptq_4bit_symmetric", 4, sym=True)
gptq("gptq_4bit_no_index", 4, index=False)
bitsandbytes("nf4", NF4, False)
bitsandbytes("fp4", FP4, False)
bitsandbytes("nf4", NF4, True)
compressed()
fp8()
fp4()
mlx()
integers()
