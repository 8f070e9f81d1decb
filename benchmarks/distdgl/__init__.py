"""DistDGL as a peer: the same partition, model and links, trained by DGL's own servers.

`launch.py`, `layout.py` and `accuracy.py` run in gnnflow's environment. `convert.py` and `train.py`
run in the peer's (`python -m benchmarks.peers dgl`), where gnnflow is not, started by `launch.py`.
"""

GRAPH_NAME = "graph"
CONFIG_FILE = f"{GRAPH_NAME}.json"
