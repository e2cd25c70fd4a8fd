"""Makes empty stand-ins for the CUDA libraries that a PyTorch wheel links to.

usage: cuda_stubs.py TORCH_LIB_DIR OUT_DIR

The wheels of PyTorch 2 on PyPI are built for CUDA and do not load without
gigabytes of its libraries, although nothing of them is called on a CPU. Each
stand-in defines the symbols that torch wants, all returning 1 (an error), with
the version names it wants. libcudart is small and is used as it is.
"""
import collections
import pathlib
import re
import subprocess
import sys

FOREIGN = re.compile(r"lib(cu|nccl|nv)")


def lines(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def wanted(folder):
    """Libraries by name, versioned symbols by version, and symbols without one."""
    libraries, versioned, bare = set(), collections.defaultdict(set), set()
    for path in folder.glob("*.so"):
        for line in lines("readelf", "-d", str(path)):
            name = re.search(r"\(NEEDED\).*\[(.*)\]", line)
            if name and FOREIGN.match(name[1]) and not name[1].startswith("libcudart"):
                libraries.add(name[1])
        for line in lines("nm", "-D", "--undefined-only", str(path)):
            symbol, _, version = line.split()[-1].partition("@")
            if FOREIGN.match(version) or version == "NVSHMEM":
                versioned[version].add(symbol)
            elif not version and re.match(r"(cu|nccl|nv)[A-Z_a-z]", symbol):
                bare.add(symbol)
    return libraries, versioned, bare


def build(library, versions, bare, out):
    names = set(bare).union(*versions.values())
    source = "".join(f"int {n}(void){{return 1;}}\n" for n in sorted(names)) + "void ww_stub(void){}\n"
    script = "".join(f"{v} {{ global: {'; '.join(sorted(s))}; }};\n" for v, s in versions.items())
    (out / "stub.c").write_text(source)
    (out / "stub.map").write_text(script)
    command = ["gcc", "-w", "-shared", "-fPIC", "-fno-builtin", f"-Wl,-soname,{library}", "-o", str(out / library), str(out / "stub.c")]
    if versions:
        command.append(f"-Wl,--version-script={out / 'stub.map'}")
    subprocess.run(command, check=True)


def main():
    out = pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    libraries, versioned, bare = wanted(pathlib.Path(sys.argv[1]))
    for library in libraries:
        mine = {v: s for v, s in versioned.items() if v == library or (v == "NVSHMEM" and "nvshmem" in library)}
        build(library, mine, bare if library.startswith("libcusparseLt") else set(), out)


main()
