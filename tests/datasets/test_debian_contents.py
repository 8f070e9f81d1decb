"""The graph of contents, from a small index that a stand-in for apt serves."""

import numpy as np
import pytest

from gnnflow.datasets import load
from gnnflow.datasets.debian.debian_contents import (
    FILE,
    NUM_BUCKETS,
    build_arrays,
    load_debian_contents,
)
from gnnflow.errors import DataError

INDEX = b"""\
bin/ash                     shells/ash
usr/share/doc/ash/README    shells/ash,contrib/games/zebra
usr/share/zebra/README      contrib/games/zebra
usr/share/zebra/a b         contrib/games/zebra
"""
# Vertices: ash, zebra; bin, doc/ash, zebra; ash, README, "a b".
PAIRS = {(0, 2), (0, 3), (1, 3), (1, 4), (0, 5), (0, 6), (1, 6), (1, 7)}


def serve(folder, monkeypatch, index):
    """Puts an apt-get first on the path that lists an index of contents."""
    (folder / "Contents").write_bytes(index)
    script = folder / "apt-get"
    listed = f"Debian|Debian|Contents-deb|{folder}/Contents"
    script.write_text(f'#!/bin/sh\ncase "$*" in *indextargets*) echo "{listed}"\nesac\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_pairs_labels_and_words():
    arrays = build_arrays([INDEX])
    assert set(map(tuple, arrays["pairs"].T.tolist())) == PAIRS
    assert arrays["pairs"].shape == (2, len(PAIRS))
    # Sections by name: games, shells; what both packages have goes with the first.
    assert arrays["y"].tolist() == [1, 0, 1, 1, 0, 1, 1, 0]
    assert arrays["x"].shape == (8, NUM_BUCKETS)
    assert np.array_equal(arrays["x"][0], arrays["x"][5])  # both are called ash
    assert not arrays["x"][7].any()  # no word of two letters
    with pytest.raises(DataError, match="hold no packages"):
        build_arrays([b""])


def test_built_once_and_kept(tmp_path, monkeypatch):
    serve(tmp_path, monkeypatch, INDEX)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    graph = load("debian-contents")
    graph.validate()
    assert (graph.num_vertices, graph.num_edges, graph.num_classes) == (8, 2 * len(PAIRS), 2)
    (tmp_path / "apt-get").unlink()
    again = load("debian-contents")
    assert np.array_equal(again.edges, graph.edges)
    kept = tmp_path / "cache" / "gnnflow"
    assert [file.name for file in kept.iterdir()] == [FILE]
    (kept / FILE).write_bytes(b"damaged")
    with pytest.raises(DataError, match="delete it to build it anew"):
        load_debian_contents(kept)


def test_without_a_network(tmp_path, monkeypatch):
    serve(tmp_path, monkeypatch, INDEX)
    (tmp_path / "Contents").unlink()
    with pytest.raises(DataError, match=r"is there a network\?.*use debian-packages instead"):
        load_debian_contents(tmp_path / "cache")
