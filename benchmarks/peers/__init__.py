"""Other frameworks to measure against, each in a virtual environment of its own.

`python -m benchmarks.peers dgl` installs one from the package index; `peer_python("dgl")` gives
its interpreter to a benchmark, or None where it is not installed. The environments live in
`~/.cache/gnnflow/peers` (or where `GNNFLOW_PEERS` says), because peers pin packages that gnnflow
must not depend on.

`distdgl_trainer`, `distdgl_convert`, `pyg_trainer`, `graphsage_training` and `minibatch_sides` run
in the peers' environments, where gnnflow is not; the other files run in gnnflow's.
"""

from benchmarks.peers.environments import (
    PEERS,
    UNUSABLE,
    install_peer,
    not_installed,
    peer_environment,
    peer_folder,
    peer_python,
)

__all__ = [
    "PEERS",
    "UNUSABLE",
    "install_peer",
    "not_installed",
    "peer_environment",
    "peer_folder",
    "peer_python",
]
