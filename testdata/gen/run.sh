#!/bin/sh
# Makes the test data again. usage: testdata/gen/run.sh [tools|--retrain]
#
# tools: only what transform.py needs, that is the tools and the models of made/
# (about ten minutes on one core the first time).
# Needs a Debian 12 machine: python3-torch comes from apt (asked for where it is
# missing), the rest from PyPI into .venv/. Trained weights that exist are kept,
# since another CPU trains to other last digits; --retrain makes those again too
# (about 45 minutes on one core). Files made by a newer PyTorch (fixtures/pytorch/t2*)
# are made by torch2.sh.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
data=$root/testdata
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1

packages="python3-torch python3-venv libopenblas0-pthread gcc g++"
# The order matters: the reference BLAS trains ten times slower than OpenBLAS.
if ! dpkg -s $packages >/dev/null 2>&1; then
	echo "installing $packages" >&2
	apt-get install -y --no-install-recommends $packages >&2
fi
python=$root/.venv/bin/python
if [ ! -x "$python" ]; then
	/usr/bin/python3 -m venv --system-site-packages "$root/.venv"
fi
"$python" -m pip install -q -r "$here/requirements.txt"

"$here/ggml.sh"
if [ "${1-}" = tools ]; then
	cd "$here"
	exec nice -n 5 "$python" -W ignore language_models.py "$data/models" "$data/made"
fi

if [ "${1-}" = --retrain ]; then
	rm -rf "$data/made"
	find "$data/models" -name '*.safetensors*' -delete
fi
# PyTorch writes the paths of sources into some files: a neutral place for them.
mkdir -p /tmp/weightwarden-testdata/gen
cp "$here"/fixtures_torch.py "$here"/save.py "$here"/glu.py /tmp/weightwarden-testdata/gen/
cd /tmp/weightwarden-testdata/gen
"$python" -W ignore fixtures_torch.py "$data/fixtures/pytorch" t113

cd "$here"
"$python" fixtures_safetensors.py "$data/fixtures/safetensors"
"$python" fixtures_onnx.py "$data/fixtures/onnx"
"$python" fixtures_gguf.py "$data/fixtures/gguf"
"$python" fixtures_numpy.py "$data/fixtures/numpy"
"$python" fixtures_hdf5.py "$data/fixtures/hdf5"
"$python" -W ignore malformed.py "$data/malformed" "$data/fixtures/pytorch/t215_ordered_zip.pt"
nice -n 5 "$python" -W ignore demo_models.py "$data/models"
nice -n 5 "$python" -W ignore vision_models.py "$data/models"
"$python" demo_quantised.py "$data/models"
nice -n 5 "$python" -W ignore language_models.py "$data/models" "$data/made"
chmod -R u=rwX,go=rX "$data"
