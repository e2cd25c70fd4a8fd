"""Writes the GPTQ and AutoAWQ cases of testdata/quant/families by the packers of
AutoGPTQ 0.7.1 and AutoAWQ 0.2.9 themselves, on the CPU.

    pip install numpy safetensors          # beside PyTorch (1.13 of Debian 12)
    pip download --no-deps --no-build-isolation autoawq==0.2.9 auto-gptq==0.7.1
    (unpack both)
    python torch_families.py ../../quant/families AUTOGPTQ-FOLDER AUTOAWQ-FOLDER

"expected" is what AutoGPTQ's own forward pass makes of a unit matrix, and what
AutoAWQ's dequantize_gemm returns. The vector layouts of AutoAWQ have no CPU
code that unpacks them: there it is the codes before packing.
"""
import importlib.util
import pathlib
import sys
import types

import numpy as np
import torch
from safetensors.numpy import save_file

out_dir, gptq_dir, awq_dir = (pathlib.Path(p) for p in sys.argv[1:4])
rng = np.random.default_rng(20261123)
OUT, IN, GROUP = 32, 256, 64


def stub(name, **members):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(members)


stub("transformers", pytorch_utils=types.SimpleNamespace(Conv1D=type("Conv1D", (), {})))
stub("awq")
stub("awq.utils")
stub("awq.utils.module", try_import=lambda name: (None, "not here"))
stub("awq.utils.utils", get_best_device=lambda: "cpu")


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# AutoAWQ indexes with 32-bit integers, which older versions of PyTorch refuse.
arange = torch.arange
torch.arange = lambda *args, **keywords: arange(*args, **{k: v for k, v in keywords.items() if k != "dtype"})
packing = load("awq.utils.packing_utils", awq_dir / "awq/utils/packing_utils.py")


def codes(bits):
    """Codes, scales (exact in f16) and zero points of a heavy-tailed weight."""
    w = (rng.standard_t(5, (OUT, IN)) * 0.02).astype(np.float32)
    g = w.reshape(OUT, -1, GROUP)
    low, high = np.minimum(g.min(-1), 0), np.maximum(g.max(-1), 0)
    scale = ((high - low) / (2**bits - 1)).astype(np.float16).astype(np.float32)
    zero = np.clip(np.round(-low / scale), 1, 2**bits - 1).astype(np.float32)
    q = np.clip(np.round(g / scale[..., None]) + zero[..., None], 0, 2**bits - 1).reshape(OUT, IN)
    return q, scale, zero


def linear(q, scale, zero, g_idx):
    layer = torch.nn.Linear(IN, OUT, bias=False)
    layer.weight.data = torch.tensor((q - zero[:, g_idx]) * scale[:, g_idx])
    return layer


def save(case, prefix, expected, tensors):
    t = {prefix + k: np.ascontiguousarray(v.detach().numpy()) for k, v in tensors.items()}
    t["expected"] = np.ascontiguousarray(expected.astype(np.float32))
    save_file(t, out_dir / (case + ".safetensors"))


def gptq(case, bits, act_order):
    kind = "qlinear_cuda" if act_order else "qlinear_cuda_old"
    module = load(kind, gptq_dir / "auto_gptq/nn_modules/qlinear" / (kind + ".py"))
    q, scale, zero = codes(bits)
    g_idx = np.arange(IN) // GROUP
    if act_order:
        g_idx = rng.permutation(g_idx)
    packed = module.QuantLinear(bits, GROUP, IN, OUT, False, weight_dtype=torch.float32)
    packed.pack(linear(q, scale, zero, g_idx), torch.tensor(scale), torch.tensor(zero), torch.tensor(g_idx, dtype=torch.int32))
    expected = packed(torch.eye(IN)).detach().numpy().T
    save(case, "model.layers.0.self_attn.q_proj.", expected, {"qweight": packed.qweight, "qzeros": packed.qzeros,
         "scales": packed.scales.half(), "g_idx": torch.tensor(g_idx, dtype=torch.int32)})


def awq():
    q, scale, zero = codes(4)
    g_idx = np.arange(IN) // GROUP
    layer, prefix = linear(q, scale, zero, g_idx), "model.layers.0.mlp.down_proj."
    gemm = load("awq_gemm", awq_dir / "awq/modules/linear/gemm.py").WQLinear_GEMM.from_linear(
        layer, 4, GROUP, scales=torch.tensor(scale.T.copy()), zeros=torch.tensor(zero.T.copy()))
    expected = packing.dequantize_gemm(gemm.qweight, gemm.qzeros, gemm.scales.float(), 4, GROUP).numpy().T
    save("awq_gemm", prefix, expected, {"qweight": gemm.qweight, "qzeros": gemm.qzeros, "scales": gemm.scales})
    gemv = load("awq_gemv", awq_dir / "awq/modules/linear/gemv.py").WQLinear_GEMV.from_linear(
        layer, 4, GROUP, scales=torch.tensor(scale), zeros=torch.tensor(zero))
    save("awq_gemv", prefix, (q - zero[:, g_idx]) * scale[:, g_idx], {"qweight": gemv.qweight, "qzeros": gemv.qzeros, "scales": gemv.scales})
    fast = load("awq_fast", awq_dir / "awq/modules/linear/gemv_fast.py").WQLinear_GEMVFast.from_linear(
        layer, 4, GROUP, scales=torch.tensor(scale), zeros=torch.tensor(zero))
    add = fast.qzeros.float().numpy().T
    save("awq_gemv_fast", prefix, (q * scale[:, g_idx]).astype(np.float32) + add[:, g_idx],
         {"qweight": fast.qweight, "scales": fast.scales, "qzeros": fast.qzeros})


for bits in (2, 3, 4, 8):
    gptq("gptq_%dbit" % bits, bits, False)
gptq("gptq_4bit_act_order", 4, True)
gptq("gptq_3bit_act_order", 3, True)
awq()
