import inspect
import sys
import tempfile

import torch

from gnnflow.models import make_model


def test_no_file_stays_and_the_source_stays_known(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in [name for name in sys.modules if name.endswith("_SAGEConv_propagate")]:
        monkeypatch.delitem(sys.modules, name)
    model = make_model("sage", [4, 8, 2])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    (generated,) = [
        module
        for name, module in sys.modules.items()
        if name.endswith("_SAGEConv_propagate") and module.__file__.startswith(str(tmp_path))
    ]
    assert "def propagate(" in inspect.getsource(generated.propagate)
    edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
    assert model(torch.ones(3, 4), edges, [3, 0, 0], [3, 0]).shape[1] == 2
