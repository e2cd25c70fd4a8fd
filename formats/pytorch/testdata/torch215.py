"""Writes the files of this folder that are by PyTorch 2.15 and NumPy 2.4. usage: python3 torch215.py

Run it in a folder whose path may be known: a distributed checkpoint keeps it.
"""
import os, pickle, shutil, warnings
import numpy, torch
import torch.distributed.checkpoint as dcp
from torch.package import PackageExporter

warnings.simplefilter("ignore")
out = "weightwarden-torch215"
shutil.rmtree(out, ignore_errors=True)
os.makedirs(out)
torch.manual_seed(1)
a = torch.arange(6, dtype=torch.float32).reshape(2, 3)
net = torch.nn.Linear(3, 2)
with torch.no_grad():
    net.weight.copy_(a)
    net.bias.copy_(torch.tensor([10.0, 11.0]))
program = torch.export.export(net.eval(), (torch.zeros(1, 3),))
torch.export.save(program, out + "/exported.pt2")
with PackageExporter(out + "/package.pt") as e:
    e.extern("**")
    e.save_pickle("model", "model.pkl", net.state_dict())
dcp.save({"a": a, "net": net.state_dict()}, checkpoint_id=out + "/dcp")
for protocol in (0, 2, 5):
    with open(f"{out}/numpy_p{protocol}.pkl", "wb") as f:
        pickle.dump({"a": a.numpy(), "fortran": numpy.asfortranarray(a.numpy()), "big": a.numpy().astype(">f4")}, f, protocol=protocol)
big = {"a": numpy.arange(30000, dtype="f4")}
with open(out + "/numpy_long_p2.pkl", "wb") as f:
    pickle.dump(big, f, protocol=2)
with open(out + "/tensor.pkl", "wb") as f:
    pickle.dump({"a": a, "list": [a * 2]}, f)
sparse = {"coo": torch.eye(2).to_sparse(), "csr": torch.eye(2).to_sparse_csr(), "meta": torch.empty(2, 3, device="meta")}
torch.save(sparse, out + "/sparse.pt")
