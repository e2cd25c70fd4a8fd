"""Writes a state dict by the real tools, each file with its .expect.json."""
import hashlib
import json
import pathlib

import gguf as gguf_py
import numpy
import torch
from safetensors.torch import save_file

import glu

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
    torch.bool: "BOOL", torch.complex64: "C64", torch.complex128: "C128",
}


FLOAT8 = [getattr(torch, n) for n in dir(torch) if n.startswith("float8_")]


def tensor_bytes(t):
    """Little-endian row-major bytes of a torch tensor of any type or stride."""
    t = t.detach().contiguous()
    same_size = {torch.bfloat16: torch.int16, **{d: torch.uint8 for d in FLOAT8}}
    if t.dtype in same_size:  # numpy has no such types
        t = t.view(same_size[t.dtype])
    return t.numpy().tobytes()


def entry(name, dtype, shape, data, **more):
    return {"name": name, "dtype": dtype, "shape": [int(n) for n in shape],
            "sha256": hashlib.sha256(data).hexdigest(), **more}


def torch_entry(name, t):
    return entry(name, DTYPES[t.dtype], t.shape, tensor_bytes(t))


def expect(path, entries):
    """Writes PATH.expect.json: what the reference library reads, sorted by name."""
    lines = [json.dumps(e) for e in sorted(entries, key=lambda e: e["name"])]
    pathlib.Path(f"{path}.expect.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def expect_torch(path, tensors):
    expect(path, [torch_entry(n, t) for n, t in tensors.items()])


def safetensors(state, path, metadata=None):
    save_file({k: v.contiguous() for k, v in state.items()}, str(path), metadata)
    expect_torch(path, state)


def torch_zip(state, path):
    # The zip's inner folder is named after the file, so no temporary name.
    torch.save(dict(state), str(path))
    expect_torch(path, state)


def gguf(model, path):
    """F32 GGUF of architecture llama through the gguf package."""
    cfg = model.cfg
    w = gguf_py.GGUFWriter(str(path), "llama")
    w.add_name(pathlib.Path(path).stem)
    w.add_context_length(cfg.context)
    w.add_embedding_length(cfg.dim)
    w.add_block_count(cfg.layers)
    w.add_feed_forward_length(cfg.hidden)
    w.add_head_count(cfg.heads)
    w.add_head_count_kv(cfg.kv_heads)
    w.add_layer_norm_rms_eps(cfg.eps)
    w.add_rope_dimension_count(cfg.head_dim)
    w.add_rope_freq_base(cfg.rope_base)
    w.add_file_type(0)
    w.add_tokenizer_model("llama")
    w.add_token_list([b"<0x%02X>" % i for i in range(cfg.vocab)])
    for name, t in model.state_dict().items():
        w.add_tensor(glu.gguf_name(name), t.numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    expect(path, gguf_entries(path))


def gguf_entries(path):
    """What the gguf package reads: raw bytes of every tensor, and for packed
    types the values its dequantiser returns, as little-endian float32."""
    out = []
    for t in gguf_py.GGUFReader(str(path)).tensors:
        more = {}
        kind = t.tensor_type
        raw = numpy.ascontiguousarray(t.data).tobytes()
        if kind not in PLAIN_GGML and kind in gguf_py.quants._type_traits:
            values = gguf_py.dequantize(t.data, kind).astype("<f4")
            more["f32_sha256"] = hashlib.sha256(values.tobytes()).hexdigest()
        out.append(entry(t.name, kind.name, reversed(t.shape.tolist()), raw, **more))
    return out


_T = gguf_py.GGMLQuantizationType
PLAIN_GGML = {_T.F64, _T.F32, _T.F16, _T.BF16, _T.I8, _T.I16, _T.I32, _T.I64}


def onnx(model, path, **options):
    """torch.onnx.export; without constant folding every weight stays as it is."""
    import onnx as onnx_py

    model.eval()
    tokens = torch.zeros((1, model.cfg.context), dtype=torch.int64)
    torch.onnx.export(model, tokens, str(path), input_names=["tokens"], output_names=["logits"],
                      opset_version=14, do_constant_folding=False, **options)
    graph = onnx_py.load(str(path)).graph
    constants = [(n.output[0], a.t) for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"]
    expect(path, [onnx_entry(i.name, i) for i in graph.initializer] + [onnx_entry(n, t) for n, t in constants])


def onnx_entry(name, proto):
    from onnx import numpy_helper
    a = numpy_helper.to_array(proto)
    return entry(name, NUMPY[a.dtype.name], a.shape, a.tobytes())


NUMPY = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16",
    "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
    "complex64": "C64", "complex128": "C128",
}
