import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_graphs import make_graph, partitioned

from gnnflow.errors import PartitionFormatError
from gnnflow.partition import Manifest, read_manifest


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("parts") / "out"
    partitioned(make_graph(20, 60), out, num_parts=2, method="random", halo_hops=1)
    return (out / "manifest.json").read_text()


def test_round_trip(text: str) -> None:
    manifest = Manifest.from_json(text)
    assert manifest.to_json() == text
    assert manifest.num_parts == 2
    assert manifest.book.num_vertices == manifest.num_vertices == 20
    assert manifest.num_edges == 60
    assert manifest.num_classes == 4
    assert manifest.splits == ("train", "val", "test")
    assert manifest.source == "random, seed 0"
    assert (manifest.arrays["x"].dtype, manifest.arrays["x"].npy_dtype) == ("float32", "<f4")
    assert manifest.arrays["x"].row_shape == (3,)
    assert manifest.arrays["y"].row_shape == ()
    assert sum(manifest.num_seeds("train")) >= 1
    with pytest.raises(PartitionFormatError, match="no split 'dev'; it has: train, val, test"):
        manifest.num_seeds("dev")


def changed(text: str, *path: Any, to: Any) -> str:
    raw = json.loads(text)
    inner = raw
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return json.dumps(raw)


def test_newer_version_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(
        PartitionFormatError, match="version is 2, this .* reads version 1; upgrade"
    ):
        Manifest.from_json(changed(text, "version", to=2))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["format"], "other", "not a 'gnnflow-partition' manifest"),
        (["num_vertices"], "20", "num_vertices must be int, got '20'"),
        (["num_vertices"], 21, "do not match the number of parts and vertices"),
        (["num_edges"], 61, "edges of the parts do not add up"),
        (["num_edges"], -1, "num_edges must not be negative"),
        (["undirected"], 0, "undirected must be bool"),
        (["offsets"], [0, 30, 20], "must start at 0 and never fall"),
        (["offsets"], [0, 2**70, 2**71], "is damaged"),
        (["offsets"], "0", "offsets must be a list of integers"),
        (["parts"], {}, "Manifest.parts must be a list of objects, got {}"),
        (["splits"], "train", "Manifest.splits must be a list of texts, got 'train'"),
        (["parts", 0], 3, "PartSpec must be a JSON object, got a int"),
        (["parts", 0, "num_vertices"], 3, "sizes of part 0 do not match"),
        (["parts", 0, "num_seeds"], {"train": 1}, "sizes of part 0 do not match"),
        (["parts", 0, "more"], 3, "PartSpec has no field 'more'"),
        (
            ["parts", 0, "files", "../up.npy"],
            None,
            "FileSpec must be a JSON object, got a NoneType",
        ),
        (["parts", 0, "files", "x.npy", "sha256"], "ab", "sha256 of 'x.npy' is not 64 hex"),
        (
            ["parts", 0, "files", "x.npy", "dtype"],
            "|O",
            "would not hold .* but '.O'",
        ),
        (["parts", 0, "files", "x.npy", "dtype"], "what", "is damaged"),
        (["arrays", "x", "npy_dtype"], "what", "'x' would not hold .* but 'what'"),
        (["arrays", "x", "npy_dtype"], ">f4", "'x' would not hold .* but '>f4'"),
        (
            ["arrays", "x", "npy_dtype"],
            "f4,i4",
            "'x' would not hold .* but 'f4,i4'",
        ),
        (["parts", 0, "files", "x.npy", "shape"], [-1], "shape must be a list of integers"),
        (["balance"], {"edges": "much"}, "balance must hold numbers, got 'much' as 'edges'"),
        (["balance"], {"edges": True}, "balance must hold numbers, got True as 'edges'"),
        (["balance"], {"edges": math.nan}, "balance must hold numbers, got nan as 'edges'"),
        (["splits"], ["train", 3], "splits must be a list of texts, got 3 in it"),
        (["edge_cut"], math.inf, "edge_cut must be a finite float, got inf"),
        (["num_classes"], 10**8, "num_classes is 100000000, and can be 1024 at most"),
        (["arrays", "x", "dtype"], "bfloat16", "'x' is 'bfloat16', which no file holds as <f4"),
        (["arrays", "x", "dtype"], "O", "'x' is 'O', which no file holds as <f4"),
        (
            ["arrays", "x"],
            {"dtype": "int8_scaled", "npy_dtype": "|u1", "row_shape": [3]},
            "a row of 'x' has no room for its scale",
        ),
        (["arrays", "x", "row_shape"], 4, "row_shape must be a list"),
        (["splits"], ["train", "val", "../test"], "cannot name an array or split"),
        (["arrays", "x"], {"row_shape": []}, "ArraySpec lacks the field 'dtype'"),
    ],
)
def test_damage_is_told(text: str, path: list[Any], value: Any, message: str) -> None:
    with pytest.raises(PartitionFormatError, match=message):
        Manifest.from_json(changed(text, *path, to=value), "parts/manifest.json")


@pytest.mark.parametrize("name", ["../up.npy", "/etc/x.npy", "a/b.npy", "x.npy.py", ".npy", ""])
def test_file_names_do_not_lead_out_of_the_folder(text: str, name: str) -> None:
    file = json.loads(text)["parts"][0]["files"]["x.npy"]
    with pytest.raises(PartitionFormatError, match="is not a file name of the format"):
        Manifest.from_json(changed(text, "parts", 0, "files", name, to=file))


def places(raw: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = raw.items() if isinstance(raw, dict) else enumerate(raw)
    found = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places(value, (*path, key))
    return found


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_change_gives_a_manifest_or_a_clear_error(text: str, data: st.DataObject) -> None:
    raw = copy.deepcopy(json.loads(text))
    *outer, last = data.draw(st.sampled_from(places(raw)))
    inner = raw
    for key in outer:
        inner = inner[key]
    if data.draw(st.booleans()):
        del inner[last]
    else:
        odd = [None, True, -1, 0, 2**80, 0.5, "", "x", [], [1], {}, {"x": 1}]
        inner[last] = data.draw(st.sampled_from(odd))
    try:
        Manifest.from_json(json.dumps(raw))
    except PartitionFormatError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "[" * 100_000])
def test_what_is_no_manifest(text: str) -> None:
    with pytest.raises(PartitionFormatError, match="it is not"):
        Manifest.from_json(text)


def test_folders_that_are_no_partition(tmp_path: Path) -> None:
    with pytest.raises(PartitionFormatError, match="is not a folder"):
        read_manifest(tmp_path / "missing")
    with pytest.raises(PartitionFormatError, match="has no readable manifest.json; run"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe")
    with pytest.raises(PartitionFormatError, match="has no readable manifest.json"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(PartitionFormatError, match="has no readable manifest.json"):
        read_manifest(tmp_path)
