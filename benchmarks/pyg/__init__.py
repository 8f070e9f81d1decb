"""PyG as a peer: one process with the whole graph in its memory, fed by PyG's `NeighborLoader`.

`launch.py` runs in gnnflow's environment, `train.py` in the peer's (`python -m benchmarks.peers
pyg`), where gnnflow is not.
"""
