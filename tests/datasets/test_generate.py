import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnflow.datasets import RawGraph, generate
from gnnflow.datasets.counter_hash import (
    IdScramble,
    random_bits,
    roughly_normal,
    stream_key,
    uniform,
)
from gnnflow.datasets.generated.generator_spec import RmatSpec, SbmSpec, parse_spec
from gnnflow.errors import DataError

SPECS = ["rmat:vertices=3000,edges=20000", "sbm:vertices=3000,edges=20000"]


def everything(graph: RawGraph) -> list[np.ndarray]:
    ids = np.arange(graph.num_vertices)
    return [
        np.asarray(graph.edges),
        *(source.rows(ids) for source in graph.arrays.values()),
        *graph.splits.values(),
    ]


@pytest.mark.parametrize("spec", SPECS)
def test_a_generated_graph_is_a_good_one(spec: str, tmp_path: Path):
    graph = generate(spec, 1, tmp_path / "new")
    graph.validate()
    assert graph.num_vertices == 3000
    assert graph.num_edges == 20000
    assert graph.edges.dtype == np.int32
    assert isinstance(graph.edges, np.memmap)
    assert f"{graph.name}:vertices=3000," in graph.source
    ids = np.arange(3000)
    labels = graph.arrays["y"].rows(ids)
    assert set(labels) == set(range(graph.num_classes))
    for name, source in graph.arrays.items():
        assert source.rows(ids).dtype == source.dtype, name
        assert source.rows(ids).shape == source.shape
    for ids in graph.splits.values():
        assert len(ids) == pytest.approx(300, abs=80)


@pytest.mark.parametrize("spec", SPECS)
def test_the_same_seed_gives_the_same_graph(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = everything(generate(spec, 5))
    monkeypatch.setattr("gnnflow.datasets.generated.edge_makers.CHUNK_EDGES", 777)
    monkeypatch.setattr("gnnflow.datasets.generated.generate.FEATURE_CHUNK", 1000)
    monkeypatch.setattr("gnnflow.datasets.generated.generate.SPLIT_CHUNK", 100)
    for again, other in (
        (everything(generate(spec, 5)), everything(generate(spec, 6))),
        (everything(generate(spec, 5, tmp_path)), everything(generate(spec, 2**40))),
    ):
        assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
        assert not any(np.array_equal(one, two) for one, two in zip(first, other, strict=True))


def test_rows_do_not_depend_on_what_is_asked_with_them():
    graph = generate(SPECS[1])
    ids = np.array([7, 2999, 0, 7])
    for source in graph.arrays.values():
        assert np.array_equal(source.rows(ids), source.rows(np.arange(3000))[ids])


def test_communities_and_degrees_of_the_block_model():
    graph = generate("sbm:vertices=20000,edges=2e5,classes=10,within=0.8,label_noise=0")
    labels = graph.arrays["y"].rows(np.arange(20000))
    same = labels[graph.edges[0]] == labels[graph.edges[1]]
    assert same.mean() == pytest.approx(0.8 + 0.2 / 10, abs=0.02)
    assert np.bincount(labels) == pytest.approx(2000)
    for ends in graph.edges:
        degrees = np.sort(np.bincount(ends, minlength=20000))[::-1]
        assert 0.7 * 2e5**0.5 < degrees[0] < 1.4 * 2e5**0.5
        # The tail of a power law of exponent 2.5: ten times the degree, 10^1.5 times as rare.
        ratio = (degrees >= 20).sum() / (degrees >= 100).sum()
        assert ratio == pytest.approx(5**1.5, rel=0.35)


def test_quadrants_of_the_recursive_matrix():
    spec = "rmat:vertices=1024,edges=1e5,classes=2,label_noise=0,a=0.5,b=0.2,c=0.25"
    graph = generate(spec)
    halves = graph.arrays["y"].rows(np.arange(1024))[graph.edges]
    shares = np.bincount(2 * halves[0] + halves[1], minlength=4) / 1e5
    assert shares == pytest.approx([0.5, 0.2, 0.25, 0.05], abs=0.01)
    in_degrees = np.bincount(graph.edges[1], minlength=1024)
    assert in_degrees.max() > 10 * in_degrees.mean()


@pytest.mark.parametrize("spec", [f"{text},features=32,separation=6" for text in SPECS])
def test_labels_can_be_learnt_from_features(spec: str):
    graph = generate(spec)
    ids = np.arange(graph.num_vertices)
    x, labels = graph.arrays["x"].rows(ids), graph.arrays["y"].rows(ids)
    train, test = graph.splits["train"], graph.splits["test"]
    centers = np.array([x[train[labels[train] == c]].mean(0) for c in range(graph.num_classes)])
    nearest = ((x[test, None] - centers) ** 2).sum(-1).argmin(1)
    assert (nearest == labels[test]).mean() > 0.75


def test_noise_in_labels():
    clean = generate("sbm:vertices=5000,edges=10,label_noise=0").arrays["y"].rows(np.arange(5000))
    noisy = generate("sbm:vertices=5000,edges=10,label_noise=0.4").arrays["y"].rows(np.arange(5000))
    assert (clean == noisy).mean() == pytest.approx(0.6 + 0.4 / 16, abs=0.03)


@pytest.mark.parametrize("kind", ["rmat", "sbm"])
@pytest.mark.parametrize("vertices", [1, 2, 3, 17])
def test_tiny_graphs(kind: str, vertices: int, tmp_path: Path):
    graph = generate(f"{kind}:vertices={vertices},edges=40,classes=1", 0, tmp_path)
    graph.validate()
    generate(f"{kind}:vertices={vertices},edges=0,classes=1", 0, tmp_path).validate()


def test_progress_is_told():
    seen: list[tuple[str, int, int]] = []
    generate("rmat:vertices=100,edges=600000", progress=lambda *event: seen.append(event))
    assert seen[-1] == ("making edges", 600000, 600000)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 9, 1))
    with pytest.raises(DataError, match="has 0.00 GB left, rmat-edges.npy needs 0.16 GB"):
        generate("rmat:vertices=100,edges=2e7", 0, tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write"):
        generate("rmat:vertices=100,edges=20", 0, tmp_path / "file")


def test_specs():
    assert parse_spec("rmat") == RmatSpec()
    assert parse_spec("sbm: vertices = 1e6 , edges=2E3, within=.5,exponent=3,") == SbmSpec(
        vertices=1_000_000, edges=2000, within=0.5, exponent=3.0
    )
    assert isinstance(parse_spec("rmat:vertices=1e6,edges=1e7").vertices, int)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("smb:vertices=10", "no generator is named 'smb'; did you mean 'sbm'. known: rmat, sbm"),
        ("", "no generator is named ''; known"),
        ("rmat:vertex=10", "no parameter 'vertex'; did you mean 'vertices'.*known: vertices,"),
        ("rmat:within=0.1", "'rmat' has no parameter 'within'"),
        ("rmat:vertices", "'vertices' in .* must be KEY=NUMBER"),
        ("rmat:vertices=many", "vertices must be a number, got 'many'"),
        ("rmat:vertices=inf", "vertices must be a (whole )?number, got 'inf'"),
        ("rmat:vertices=nan", "vertices must be a whole number, got 'nan'"),
        ("rmat:vertices=1.5", "vertices must be a whole number, got '1.5'"),
        ("rmat:vertices=5,vertices=6", "given twice"),
        ("rmat:vertices=0", r"vertices must be in \[1, 2147483648\], got 0"),
        ("rmat:vertices=4,classes=5", r"classes must be in \[1, 4\], got 5"),
        ("rmat:edges=-1", "edges must be in"),
        ("rmat:label_noise=nan", "label_noise must be in"),
        ("rmat:a=0.9,b=0.9", "a, b and c must not exceed 1 together"),
        ("sbm:exponent=2", "exponent must be in"),
        ("sbm:train=0.9,test=0.2", "train, val and test must not exceed 1"),
    ],
)
def test_bad_specs_are_named(spec: str, message: str):
    with pytest.raises(DataError, match=message):
        parse_spec(spec)


@given(num_vertices=st.integers(1, 5000), seed=st.integers(0, 2**64))
@settings(max_examples=50, deadline=None)
def test_scrambled_ids_are_a_permutation(num_vertices: int, seed: int):
    scramble = IdScramble(num_vertices, seed)
    ranks = np.arange(num_vertices)
    ids = scramble.ids(ranks)
    assert np.array_equal(np.sort(ids), ranks)
    assert np.array_equal(scramble.ranks(ids), ranks)


def test_scrambled_ids_of_the_largest_graph():
    scramble = IdScramble(2**31, 3)
    ranks = np.array([0, 1, 2**31 - 2, 2**31 - 1])
    assert np.array_equal(scramble.ranks(scramble.ids(ranks)), ranks)


def test_random_numbers():
    key = stream_key(3, "test")
    assert key != stream_key(3, "tesu") != stream_key(4, "tesu")
    # The sequence of SplitMix64 from seed 1234567, as published with its reference code.
    assert random_bits(1234567, np.arange(2)).tolist() == [
        6457827717110365317,
        3203168211198807973,
    ]
    values = uniform(key, np.arange(100_000))
    assert values.min() >= 0
    assert values.max() < 1
    assert np.histogram(values, 10, (0, 1))[0] == pytest.approx(10_000, rel=0.05)
    normal = roughly_normal(key, np.arange(100_000))
    assert normal.mean() == pytest.approx(0, abs=0.02)
    assert normal.std() == pytest.approx(1, abs=0.01)
