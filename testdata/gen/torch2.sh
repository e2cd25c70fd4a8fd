#!/bin/sh
# Makes fixtures/pytorch/t215_* with PyTorch 2.15 from PyPI. usage: testdata/gen/torch2.sh
#
# Downloads 540 MB and needs gcc, binutils and Python 3.11. The wheel is built for
# CUDA; cuda_stubs.py says how it is loaded without.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
# PyTorch writes the paths of sources, its own too, into some files: a neutral place.
work=/tmp/weightwarden-testdata
venv=$work/torch2
export OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1

mkdir -p "$work/gen"
cp "$here"/fixtures_torch.py "$here"/save.py "$here"/glu.py "$work/gen/"
[ -x "$venv/bin/python" ] || /usr/bin/python3 -m venv "$venv"
"$venv/bin/python" -m pip install -q --no-deps torch==2.15.0 nvidia-cuda-runtime==13.5.37
"$venv/bin/python" -m pip install -q filelock typing-extensions sympy networkx jinja2 fsspec 'setuptools>=77' \
	numpy==2.4.6 safetensors==0.8.0 gguf==0.19.0 onnx==1.23.2
lib=$("$venv/bin/python" -c 'import importlib.util as u, pathlib; print(pathlib.Path(u.find_spec("torch").origin).parent / "lib")')
"$venv/bin/python" "$here/cuda_stubs.py" "$lib" "$venv/stubs"
cp "$(find "$venv" -name 'libcudart.so.13' -not -path '*/stubs/*' | head -n 1)" "$venv/stubs/"
cd "$work/gen"
LD_LIBRARY_PATH=$venv/stubs "$venv/bin/python" -W ignore fixtures_torch.py "$root/testdata/fixtures/pytorch" t215
