"""gnnflow-partition: from words on a command line to a folder, or to one clear line."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch_geometric.datasets import Reddit

import gnnflow
from gnnflow.cli import partition
from gnnflow.errors import MissingExtraError
from gnnflow.partition import open_partition, read_manifest
from gnnflow.training.tasks import RegressionTask, task_of

Run = Callable[..., tuple[int, str, str]]


def no_network(_: object) -> None:
    raise OSError("no network")


MADE = "sbm:vertices=300,edges=2000"


@pytest.fixture
def run(call_command: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command in an empty folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        handler = signal.getsignal(signal.SIGTERM)
        said = call_command("gnnflow-partition", partition.main, *words)
        signal.signal(signal.SIGTERM, handler)
        return said

    return call


def test_generated_graph_to_parts(run: Run, tmp_path: Path) -> None:
    words = ["--generate", MADE, "--num-parts", "3", "--out", "deep/parts", "--verify"]
    code, out, err = run(*words, "--plot", "parts.png")
    assert (code, err) == (0, "")
    manifest = read_manifest(tmp_path / "deep" / "parts")
    assert (manifest.num_parts, manifest.num_vertices, manifest.num_edges) == (3, 300, 2000)
    for part in range(3):
        assert open_partition("deep/parts", part, verify=True).arrays["x"].dtype == np.float32
    assert "3 parts by metis" in out
    assert f"Edge cut {manifest.edge_cut:.4f} ({manifest.num_cut_edges:,} of 2,000 edges)" in out
    assert "peak memory" in out
    assert "Next: gnnflow-train deep/parts --ranks 3" in out
    for part in manifest.parts:
        assert f"{part.num_edges:,}" in out
        assert f"{part.num_halo:,}" in out
    assert (tmp_path / "parts.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(os.listdir(tmp_path)) == ["deep", "parts.png"]
    assert os.listdir(tmp_path / "deep") == ["parts"]


def test_every_option_reaches_the_partitioner(run: Run, tmp_path: Path) -> None:
    np.save("edges.npy", np.array([[0, 1, 2, 3, 4, 4], [1, 2, 3, 4, 5, 5]]))
    np.save("features.npy", np.eye(6, dtype=np.float32))
    np.save("labels.npy", np.arange(6) % 2)
    np.savez("split.npz", train=np.array([0, 5]), val=np.array([1]), test=np.array([2]))
    (tmp_path / "run.yaml").write_text("method: ldg\nhosts: 2\nseed: 3\nhalo_hops: 1\n")
    files = ["--edges", "edges.npy", "--features", "features.npy", "--labels", "labels.npy"]
    options = ["--split", "split.npz", "--num-parts", "2", "--undirected", "--config", "run.yaml"]
    assert run(*files, *options)[0] == 0
    manifest = read_manifest("parts")
    assert (manifest.method, manifest.hosts, manifest.seed) == ("ldg", 2, 3)
    assert (manifest.halo_hops, manifest.undirected, manifest.num_edges) == (1, True, 10)
    assert (manifest.num_classes, manifest.splits) == (2, ("train", "val", "test"))
    assert manifest.arrays["x"].row_shape == (6,)


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv", "parquet"])
def test_edge_features(run: Run, suffix: str) -> None:
    np.save("edges.npy", np.array([[0, 1, 2, 2, 1], [1, 1, 0, 0, 2]]))
    rows = np.arange(10.0).reshape(5, 2)
    if suffix == "npy":
        np.save("e.npy", rows)
    elif suffix == "npz":
        np.savez("e.npz", edge_attr=rows)
    elif suffix == "csv":
        np.savetxt("e.csv", rows, delimiter=",")
    else:
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.table({"a": rows[:, 0], "b": rows[:, 1]}), "e.parquet")
    words = ["--edges", "edges.npy", "--edge-features", f"e.{suffix}", "--num-parts", "2"]
    assert run(*words, "--method", "random")[0] == 0
    for number in range(2):
        part = open_partition("parts", number, verify=True)
        assert part.edge_attr is not None and part.edge_id is not None
        assert part.edge_attr.dtype == np.float32
        assert np.array_equal(part.edge_attr, rows[part.edge_id])
    np.save("short.npy", rows[:4])
    words = ["--edges", "edges.npy", "--edge-features", "short.npy", "--out", "other"]
    assert "the graph has 5 edges, edge_attr has shape [4, 2]" in run(*words)[2]
    assert (
        "--edge-features goes with --edges"
        in run("--edge-features", "e.npy", "--generate", MADE)[2]
    )


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv"])
def test_edge_weights(run: Run, suffix: str) -> None:
    np.save("edges.npy", np.array([[0, 1, 2, 2, 1], [1, 1, 0, 0, 2]]))
    weights = np.array([0.5, 0, 2, 1, 3])
    if suffix == "npy":
        np.save("w.npy", weights)
    elif suffix == "npz":
        np.savez("w.npz", weight=weights, other=weights[:2])
    else:
        np.savetxt("w.csv", weights)
    words = ["--edges", "edges.npy", "--edge-weights", f"w.{suffix}", "--num-parts", "1"]
    assert run(*words)[0] == 0
    part = open_partition("parts", 0, verify=True)
    assert part.edge_weight is not None and part.edge_id is None
    # By destination, each list in the order of the input.
    assert part.edge_weight.tolist() == [2, 1, 0.5, 0, 3]
    manifest = read_manifest("parts")
    assert manifest.edge_weights == ("weight",)
    assert manifest.parts[0].files["edge_weight.npy"].dtype == "<f4"
    for wrong, message in (
        (weights[:4], "one number for each of the 5 edges, got float64 of shape [4]"),
        (weights - 1, "edge 0 has weight -0.5, and weights must be finite and not negative"),
        (np.where(weights > 2, np.nan, weights), "edge 4 has weight nan, and weights must be"),
        (np.ones((5, 2)), "must be one number for each edge, got float64 of shape [5, 2]"),
    ):
        np.save("wrong.npy", wrong)
        words = ["--edges", "edges.npy", "--edge-weights", "wrong.npy", "--num-parts", "1"]
        code, _, err = run(*words, "--out", "no")
        assert code == 1 and message in err.splitlines()[-1]
        assert err.splitlines()[-1].startswith("gnnflow-partition: error: ")
    assert not Path("no").exists()


def test_edge_weights_go_with_any_graph(run: Run) -> None:
    np.save("w.npy", np.arange(2000) % 3)
    words = ["--generate", MADE, "--num-parts", "2", "--halo-hops", "1"]
    assert run(*words, "--edge-weights", "w.npy")[0] == 0
    parts = [open_partition("parts", number, verify=True) for number in range(2)]
    counts = sum(np.bincount(part.edge_weight.astype(int)) for part in parts)  # type: ignore[union-attr]
    assert counts.tolist() == np.bincount(np.arange(2000) % 3).tolist()
    assert all(part.halo_topology[0].edge_weight is not None for part in parts)


def test_held_out_edges(run: Run) -> None:
    words = ["--generate", MADE, "--num-parts", "2", "--out", "parts"]
    assert (
        run(*words, "--val-edges", "0.1", "--test-edges", "0.2", "--edge-split-seed", "3")[0] == 0
    )
    held = [open_partition("parts", part, verify=True).held_out_edges for part in range(2)]
    num_val = sum(edges["val"].shape[1] for edges in held)
    num_test = sum(edges["test"].shape[1] for edges in held)
    assert 0 < num_val < num_test
    assert read_manifest("parts").num_edges == 2000 - num_val - num_test


def files_of_a_graph(labels: np.ndarray) -> list[str]:
    """Writes a ring of as many vertices as labels; returns the words that name its files."""
    ring = np.arange(len(labels))
    np.save("edges.npy", np.stack([ring, np.roll(ring, 1)]))
    np.save("x.npy", np.ones((len(labels), 3), dtype=np.float32))
    np.save("y.npy", labels)
    return ["--edges", "edges.npy", "--features", "x.npy", "--labels", "y.npy"]


@pytest.mark.parametrize(
    ("labels", "words", "said", "outputs"),
    [
        (np.arange(9) % 4, [], "Labels: 4 classes", 4),
        (np.eye(9, 2), [], "Labels: 2 classes, several for a vertex (multilabel)", 2),
        (np.arange(9) * 0.5, [], "Labels: a number (regression)", 1),
        (np.arange(9) - 3, ["--task", "regression"], "Labels: a number (regression)", 1),
        (np.arange(9) * 100, ["--task", "regression"], "Labels: a number (regression)", 1),
        (np.full((9, 3), 0.5), [], "Labels: 3 numbers (regression)", 3),
        (np.eye(9, 2), ["--task", "regression"], "Labels: 2 numbers (regression)", 2),
    ],
)
def test_what_labels_are(
    run: Run, labels: np.ndarray, words: list[str], said: str, outputs: int
) -> None:
    given = [*files_of_a_graph(labels), *words, "--split", "random:0.6,0.2,0.2"]
    code, out, err = run(*given, "--num-parts", "1")
    assert (code, err) == (0, "")
    assert f"{said}\n" in out
    assert "Next: gnnflow-train parts --ranks 1" in out
    with gnnflow.init(threads=1) as ctx:
        graph = gnnflow.DistGraph.open("parts", ctx)
        assert graph.num_classes == outputs, "what the last layer of a model has"
        task = task_of(graph.manifest)
        assert task.num_outputs == outputs
        assert isinstance(task, RegressionTask) == ("regression" in said)
        original = graph.partition.original_id
        assert np.array_equal(graph.partition.arrays["y"], labels[original])


def test_whole_numbers_need_a_word(run: Run) -> None:
    code, _, err = run(*files_of_a_graph(np.arange(9) * 100))
    assert code == 1
    assert "--task regression" in err
    assert not Path("parts").exists()


def seeds(parts: str) -> dict[str, list[int]]:
    """The original ids of each split, over all parts."""
    manifest = read_manifest(parts)
    opened = [open_partition(parts, part) for part in range(manifest.num_parts)]
    return {
        name: sorted(np.concatenate([part.original_id[part.splits[name]] for part in opened]))
        for name in manifest.splits
    }


@pytest.mark.parametrize("kind", ["random", "stratified"])
def test_splits_by_chance(run: Run, kind: str) -> None:
    words = ["--generate", MADE, "--split", f"{kind}:0.5,0.25,0.25", "--out"]
    for parts, more in (("a", []), ("b", ["--method", "random"]), ("c", ["--seed", "1"])):
        assert run(*words, parts, "--num-parts", "2", *more)[0] == 0
    found = seeds("a")
    assert sorted(sum(found.values(), [])) == list(range(300))
    assert len(found["train"]) == pytest.approx(150, abs=30 if kind == "random" else 8)
    assert seeds("b") == found, "a split does not depend on the cut"
    assert seeds("c") != found
    assert run(*words, "d", "--num-parts", "3")[0] == 0
    assert seeds("d") == found


def test_a_split_by_a_column(run: Run) -> None:
    words = files_of_a_graph(np.arange(6) % 2)
    lines = ["y,fold", *(f"{vertex % 2},{'train' if vertex < 4 else ''}" for vertex in range(6))]
    Path("y.csv").write_text("\n".join(lines) + "\n")
    words[-1] = "y.csv"
    assert run(*words, "--split", "column:fold", "--num-parts", "2")[0] == 0
    assert seeds("parts") == {"train": [0, 1, 2, 3]}
    assert read_manifest("parts").arrays["y"].row_shape == ()


def test_what_cannot_be_trained_is_said(run: Run) -> None:
    words = files_of_a_graph(np.arange(9) % 4)
    for given, lacks in (
        (words, "no train split (--split FILE, or --split random:0.6,0.2,0.2)."),
        (words[:4], "no labels (--labels) and no train split (--split FILE"),
        ([*words[:4], "--split", "random:0.6,0.2,0.2"], "no labels (--labels)."),
        ([*words[:2], "--val-edges", "0.3"], "; edges are held out for link prediction."),
    ):
        code, out, _ = run(*given, "--num-parts", "2", "--overwrite")
        assert code == 0
        assert f"has {lacks}" in out or lacks in out
        assert "Next:" not in out
        assert "Wrote parts. gnnflow-train has nothing to learn there" in out
    assert ("Labels: none" in out) == ("--labels" not in given)


def test_gaps_in_ids_that_are_meant(run: Run, tmp_path: Path) -> None:
    np.save("edges.npy", np.array([[0, 10], [10, 0]]))
    code, _, err = run("--edges", "edges.npy", "--num-parts", "2")
    assert code == 1
    assert "9 have no edge, 1 the first" in err
    assert os.listdir(tmp_path) == ["edges.npy"]
    words = ["--edges", "edges.npy", "--num-parts", "2", "--num-vertices", "11"]
    assert run(*words)[0] == 0
    assert read_manifest("parts").num_vertices == 11


def test_embedded_graph(run: Run) -> None:
    code, out, _ = run("--dataset", "debian-packages", "--method", "random", "--num-parts", "2")
    assert code == 0
    assert "debian-packages: 2 parts by random" in out
    assert read_manifest("parts").name == "debian-packages"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no graph to cut; give --dataset NAME, --edges FILE, --generate SPEC"),
        (["--dataset", "x", "--generate", MADE], "got --dataset and --generate; leave out"),
        (["--generate", MADE, "--labels", "y.npy"], "--labels goes with --edges or --from-dgl or"),
        (["--dataset", "debian"], "did you mean 'debian-packages'"),
        (["--edges", "missing.npy"], "missing.npy"),
        (["--generate", MADE, "--num-parts", "301"], "at most the number of vertices, 300"),
        (["--generate", "made:up"], "made"),
        (["--generate", MADE, "--out", "taken"], "taken exists and is not empty"),
        (["--generate", MADE, "--out", "taken", "--overwrite"], "is not a partition folder"),
        (["--generate", MADE, "--out", "taken/file/parts"], "nothing was written"),
        (["--generate", MADE, "--plot", "parts.txt"], "--plot must end in .png, .svg, .pdf"),
        (["--generate", MADE, "--plot", "no/parts.png"], "the folder of --plot no/parts.png"),
        (["--generate", "made:up", "--out", "a/b/parts"], "made"),
        (["--generate", MADE, "--num-parts", "301", "--out", "a/b/parts"], "at most the number"),
        (["--generate", MADE, "--method", "keep", "--out", "a/b/parts"], "method is keep"),
        (["--generate", MADE, "--val-edges", "0.99999", "--out", "a/b"], "leave none of the 2000"),
        (["--generate", MADE, "--split", "random:60,20,20", "--out", "a/b"], "at most 1 together"),
        (["--generate", MADE, "--split", "column:fold", "--out", "a/b"], "no column or array 'fo"),
        (["--generate", MADE, "--split", "s.npz", "--out", "a/b"], "--split goes with --edges or"),
        (["--generate", MADE, "--task", "classes"], "--task goes with --edges or --from-dgl or"),
        (["--from-dgl", "no.json", "--out", "a/b/parts"], "cannot read no.json"),
        (["--from-pyg", "no", "--out", "a/b/parts"], "cannot read no/META.json"),
        (["--dataset", "reddit", "--data-root", "data/deep"], "reddit is not in data/deep"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setattr(Reddit, "download", no_network)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    code, out, err = run(*words)
    assert code == 1
    assert out == ""
    assert err.startswith("gnnflow-partition: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == ["taken"]
    assert os.listdir(tmp_path / "taken") == ["file"]


@pytest.mark.parametrize(
    "words", [["--num-parts", "0"], ["--hosts", "0"], ["--method", "guess"], ["--what"]]
)
def test_usage_errors(run: Run, tmp_path: Path, words: list[str]) -> None:
    code, _, err = run("--generate", MADE, *words)
    assert code == 2
    assert err != ""
    assert os.listdir(tmp_path) == []


def test_out_of_memory_and_a_full_disk_are_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, message in (
        (MemoryError(), "error: out of memory; nothing was written"),
        (
            OSError(28, "No space left on device"),
            "free some space or choose another folder; nothing was written",
        ),
    ):

        def fail(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(partition, "partition_graph", fail)
        code, _, err = run("--generate", MADE)
        assert code == 1
        assert message in err
        assert err.count("\n") == 1


def test_plot_without_matplotlib(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing() -> None:
        raise MissingExtraError("matplotlib", "plot", "--plot")

    monkeypatch.setattr(partition.plot, "_pyplot", missing)
    code, _, err = run("--generate", MADE, "--plot", "parts.png")
    assert code == 1
    assert 'pip install "gnnflow[plot]"' in err
    assert os.listdir(tmp_path) == []


def test_bars_are_shown_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def show() -> str:
        with partition._progress_bars() as progress:
            progress("first", 1, 2)
            progress("first", 2, 2)
            progress("second", 0, 0)
        return capsys.readouterr().err

    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert show() == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = show()
    assert "first" in shown
    assert "second" in shown


def test_sigterm_cleans_up(tmp_path: Path) -> None:
    code = "from gnnflow.cli.partition import main; main()"
    words = ["--generate", "rmat:vertices=3e5,edges=3e6", "--out", str(tmp_path / "parts")]
    running = subprocess.Popen([sys.executable, "-c", code, *words])
    end = time.monotonic() + 60
    while not list(tmp_path.glob(".parts.unfinished-*/scratch/xadj")):
        assert running.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 128 + signal.SIGTERM
    assert os.listdir(tmp_path) == []
