"""The peers: what pip installs for each, and where that is."""

import json
import os
import subprocess
import venv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A framework that installs and runs beside gnnflow."""

    requirements: tuple[str, ...]
    """What pip installs, pinned."""
    check: str
    """Python that fails unless the peer works."""
    note: str
    """Why this version."""
    built: tuple[str, ...] = ()
    """What pip then compiles against the torch that is there."""


PEERS = {
    "dgl": Peer(
        requirements=("torch==2.13.0", "dgl==1.1.3", "packaging"),
        check="import dgl.distributed, dgl.dataloading, dgl.nn.pytorch",
        note="DGL 1.1.3, the last release that runs with the torch used here",
    ),
    "graphbolt": Peer(
        requirements=(
            "torch==2.2.1",
            "dgl==2.1.0",
            "torchdata==0.7.1",
            "numpy==1.26.4",
            "packaging",
            "pandas",
            "pydantic",
            "pyyaml",
            "setuptools<81",
        ),
        check="import dgl.graphbolt",
        note="GraphBolt of DGL 2.1.0, the last release on the index; 4.5 GB with the CUDA packages "
        "of the torch that it was built for",
    ),
    "pyg": Peer(
        requirements=("torch==2.13.0", "torch-geometric==2.8.1", "numpy", "setuptools", "wheel"),
        built=("torch-scatter==2.1.2", "torch-sparse==0.6.18"),
        check="import torch_sparse, torch_geometric.loader",
        note="PyG 2.8.1 with torch-sparse, which compiles for half an hour on two cores; the index "
        "has no build of pyg-lib",
    ),
}
# Not on offer, with the reason, so that nobody has to find out twice.
UNUSABLE = {
    "graphlearn-torch": "0.2.4 installs from the index but does not import",
    "pyg-distributed": "torch_geometric.distributed 2.8.1 is deprecated, raises a TypeError from "
    "its own deprecation warning and needs pyg-lib, which the index has no build of",
}
# Written last, with the requirements: an environment without it, or of other versions, is redone.
MARKER = "gnnflow-peer.json"
_REPOSITORY = Path(__file__).parents[2]


def peer_folder(name: str) -> Path:
    """Returns where the environment of a peer is, whether it exists or not.

    Raises:
        KeyError: If no such peer is known; the message lists those that are.
    """
    if name not in PEERS:
        raise KeyError(f"unknown peer {name!r}; known are {', '.join(PEERS)}")
    default = Path.home() / ".cache" / "gnnflow" / "peers"
    return Path(os.environ.get("GNNFLOW_PEERS", default)) / name


def peer_python(name: str) -> Path | None:
    """Returns the interpreter of an installed peer, or None if it is not (fully) installed."""
    folder = peer_folder(name)
    marker = folder / MARKER
    if not marker.exists() or json.loads(marker.read_text()) != _pinned(PEERS[name]):
        return None
    return folder / "bin" / "python"


def not_installed(name: str) -> str:
    """Returns why a peer is not compared with, and the remedy."""
    return f"it is not installed; `python -m benchmarks.peers {name}` does that"


def peer_environment() -> dict[str, str]:
    """Returns the variables with which a peer's interpreter finds `benchmarks`."""
    path = os.pathsep.join(filter(None, [str(_REPOSITORY), os.environ.get("PYTHONPATH")]))
    # Without DGLBACKEND, DGL writes its choice of backend into the user's home.
    return {**os.environ, "DGLBACKEND": "pytorch", "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _pinned(peer: Peer) -> list[str]:
    return [*peer.requirements, *peer.built]


def install_peer(name: str) -> Path:
    """Installs a peer unless it is there already, and returns its interpreter.

    Raises:
        subprocess.CalledProcessError: If pip fails or the installed peer does not import.
    """
    installed = peer_python(name)
    if installed is not None:
        return installed
    peer, folder = PEERS[name], peer_folder(name)
    venv.create(folder, with_pip=True, clear=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, *peer.requirements], check=True)
    if peer.built:
        environment = os.environ | {"FORCE_ONLY_CPU": "1"}
        command = [*install, "--no-build-isolation", *peer.built]
        subprocess.run(command, check=True, env=environment)
    subprocess.run([python, "-c", peer.check], check=True, env=peer_environment())
    (folder / MARKER).write_text(json.dumps(_pinned(peer)))
    return python
