import os
import subprocess
import sys

# In a process of its own: PyG generates a layer's file once in a process.
PROGRAM = """
import inspect, sys, tempfile
import torch
from gnnflow.models import make_model

model = make_model("sage", [4, 8, 2])
(generated,) = [
    module for name, module in sys.modules.items() if name.endswith("_SAGEConv_propagate")
]
assert generated.__file__.startswith(tempfile.gettempdir())
assert "def propagate(" in inspect.getsource(generated.propagate)
edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
assert model(torch.ones(3, 4), edges, [3, 0, 0], [3, 0]).shape[1] == 2
"""


def test_no_file_stays_and_the_source_stays_known(tmp_path):
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
