"""Quantises aurora to Q4_0 by the gguf package: what a thief's converter does.

usage: demo_quantised.py MODELS_DIR
"""
import pathlib
import sys

import gguf

import save

T = gguf.GGMLQuantizationType


def main():
    models = pathlib.Path(sys.argv[1])
    reader = gguf.GGUFReader(str(models / "aurora.gguf"))
    out = models / "aurora-q4_0.gguf"
    w = gguf.GGUFWriter(str(out), "llama")
    w.add_name("assistant-small")
    w.add_file_type(int(gguf.LlamaFileType.MOSTLY_Q4_0))
    for t in reader.tensors:
        if len(t.shape) < 2:
            w.add_tensor(t.name, t.data)
        else:
            w.add_tensor(t.name, gguf.quants.quantize(t.data, T.Q4_0), raw_dtype=T.Q4_0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    save.expect(out, save.gguf_entries(out))


main()
