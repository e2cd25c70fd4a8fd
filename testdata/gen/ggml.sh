#!/bin/sh
# Builds the quantisers of llama.cpp into .venv/libggml-quants.so. usage: testdata/gen/ggml.sh
#
# The sources are those inside llama-cpp-python's source package on PyPI (MIT);
# only three files are compiled, so that no cmake and no 20 minutes are needed.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$root/.venv/libggml-quants.so
[ -f "$out" ] && exit 0
work=$root/.venv/ggml
mkdir -p "$work"
# Asking for a source package runs its build back end, for the metadata.
"$root/.venv/bin/python" -m pip install -q scikit-build-core==0.11.6
"$root/.venv/bin/python" -m pip download -q --no-deps --no-build-isolation --no-binary :all: -d "$work" llama-cpp-python==0.3.36
tar -xzf "$work"/llama_cpp_python-0.3.36.tar.gz -C "$work"
ggml=$work/llama_cpp_python-0.3.36/vendor/llama.cpp/ggml
: >"$work/ggml-version.h"
gcc -O2 -shared -fPIC -w -D_GNU_SOURCE -DGGML_VERSION='"0.3.36"' -DGGML_COMMIT='"none"' -I"$work" -I"$ggml/include" -I"$ggml/src" \
	"$ggml/src/ggml.c" "$ggml/src/ggml-quants.c" "$ggml/src/ggml-threading.cpp" -o "$out" -lm -lpthread -lstdc++
