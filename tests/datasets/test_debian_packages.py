import gzip
import hashlib
import lzma
from pathlib import Path

import numpy as np
import pytest

from gnnflow.datasets import build_debian_packages as build
from gnnflow.datasets import load
from gnnflow.datasets.debian import apt_indexes
from gnnflow.datasets.debian.debian_packages import NUM_BUCKETS
from gnnflow.errors import DataError

INDEX = """\
Package: zebra
Version: 1
Depends: apple (>= 2), missing | mail-agent,
 banana:any
Section: contrib/games
Description: zebra game of lines

Package: apple
Provides: mail-agent (= 1)
Recommends: zebra
Suggests: apple
Description: lines of red
Section: libs

Package: apple
Version: 2
Depends: banana
Section: games

Package: banana
Provides: mail-agent
Pre-Depends: apple
Section: libs
Description: yellow
"""


def test_the_embedded_graph():
    graph = load("debian-packages")
    graph.validate()
    assert graph.num_vertices == 63436
    assert graph.num_edges == 655180
    assert (graph.num_features, graph.num_classes) == (256, 58)
    assert sum(map(len, graph.splits.values())) == graph.num_vertices
    assert graph.arrays["x"].dtype == np.float32
    keys = graph.edges[0].astype(np.int64) * graph.num_vertices + graph.edges[1]
    reverse = graph.edges[1].astype(np.int64) * graph.num_vertices + graph.edges[0]
    assert np.array_equal(keys, np.sort(reverse)), "each edge is there in both directions, once"


def test_an_index_becomes_arrays():
    packages = build.parse_index(INDEX.encode())
    assert [package["Package"] for package in packages] == ["apple", "banana", "zebra"]
    assert build.dependency_edges(packages).T.tolist() == [[0, 2], [1, 0], [2, 0], [2, 1]]
    arrays = build.build_arrays(INDEX.encode())
    assert arrays["label_names"].tolist() == ["games", "libs"]
    assert arrays["labels"].tolist() == [1, 1, 0]
    assert arrays["index_sha256"] == hashlib.sha256(INDEX.encode()).hexdigest()


def test_a_name_that_many_provide_is_no_edge(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build, "MAX_PROVIDERS", 1)
    packages = build.parse_index(INDEX.encode())
    assert build.dependency_edges(packages).T.tolist() == [[0, 2], [1, 0], [2, 0], [2, 1]]
    monkeypatch.setattr(build, "MAX_PROVIDERS", 0)
    only_virtual = INDEX.replace("apple (>= 2), ", "").replace("\n banana:any", "")
    packages = build.parse_index(only_virtual.encode())
    assert build.dependency_edges(packages).T.tolist() == [[0, 2], [1, 0]]


def test_words_leave_out_the_package_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build, "MIN_WORD_COUNT", 1)
    packages = build.parse_index(INDEX.encode())
    offsets, buckets, counts = build.word_features(packages)
    rows = np.zeros((3, NUM_BUCKETS))
    rows[np.repeat(np.arange(3), np.diff(offsets)), buckets] = counts
    expected = np.zeros((3, NUM_BUCKETS))
    for vertex, words in enumerate([["lines", "of", "red"], ["yellow"], ["game", "of", "lines"]]):
        for word in words:
            for number in range(build.NUM_HASHES):
                bucket, sign = build.signed_bucket(word, number)
                expected[vertex, bucket] += sign
    assert np.array_equal(rows, expected)
    assert np.any(rows[0])


def test_splits_have_their_shares():
    counts = np.bincount([build.split_of(f"package-{number}") for number in range(5000)])
    assert counts / 50 == pytest.approx(build.SPLIT_PERCENT, abs=3)


@pytest.mark.parametrize(
    ("name", "compress"), [("P", bytes), ("P.gz", gzip.compress), ("P.xz", lzma.compress)]
)
def test_the_same_index_gives_the_same_bytes(tmp_path: Path, name: str, compress):
    index = tmp_path / name
    index.write_bytes(compress(INDEX.encode()))
    outs = [tmp_path / "first.npz", tmp_path / "second.npz"]
    for out in outs:
        build.main(["--out", str(out), "--packages-file", str(index)])
    assert outs[0].read_bytes() == outs[1].read_bytes()
    with np.load(outs[0], allow_pickle=False) as stored:
        assert stored["edges"].shape == (2, 4)


def test_bad_indices_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        build.main(["--out", str(tmp_path / "out"), "--packages-file", str(tmp_path / "none")])
    assert stop.value.code == 1
    assert "no package index at" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="holds no packages"):
        build.parse_index(b"hello\n")


def test_unknown_names_list_the_known_and_the_nearest():
    with pytest.raises(DataError, match="did you mean 'debian-packages'.*known: .*yelp"):
        load("debian_package")
    with pytest.raises(DataError, match="'qqqq'; known: "):
        load("qqqq")


def fake_apt(folder: Path, rows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts an apt-get first on the path that lists `rows` as its index files."""
    script = folder / "apt-get"
    script.write_text(f"#!/bin/sh\ncase \"$*\" in *indextargets*) cat <<'END'\n{rows}\nEND\nesac\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_the_largest_debian_index_of_the_sources_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "main").write_text(INDEX)
    (tmp_path / "updates").write_text("Package: one\n")
    (tmp_path / "other").write_text(INDEX * 2)
    rows = [
        f"Debian|Debian|Packages|{tmp_path}/updates",
        f"Debian|Debian|Packages|{tmp_path}/main",
        f"Debian|Debian|Packages|{tmp_path}/gone",
        f"Else|Else|Packages|{tmp_path}/other",
    ]
    fake_apt(tmp_path, "\n".join(rows), monkeypatch)
    assert build.fetch_index() == INDEX.encode()
    fake_apt(tmp_path, rows[3], monkeypatch)
    with pytest.raises(DataError, match="name no Debian index"):
        build.fetch_index()


def test_no_apt_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="apt-get.*pass one with --packages-file"):
        build.fetch_index()
    monkeypatch.setattr(apt_indexes, "APT_HELPER", str(tmp_path / "none"))
    (tmp_path / "P.lz4").touch()
    with pytest.raises(DataError, match="decompress it first"):
        build.read_index(tmp_path / "P.lz4")
