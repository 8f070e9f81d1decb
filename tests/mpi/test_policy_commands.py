"""Commands and examples of steered runs, on two ranks."""

import json
import sys
from pathlib import Path

import pytest
from ranks import ROOT, run_ranks
from small_graphs import power_law

from gnnflow.config import PartitionConfig
from gnnflow.partition import partition_graph

sys.path.append(str(ROOT / "tests" / "policies"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples") / "two"
    partition_graph(power_law(), folder, PartitionConfig(num_parts=2, method="random"))
    return folder


def run_example(name: str, *words: object):
    return run_ranks(2, [str(ROOT / "examples" / name), *map(str, words)], limit_s=300)


def test_the_command_tells_what_its_policy_decided(folder, tmp_path):
    out = tmp_path / "run"
    words = ["--transport", "alltoall", "--fanout", "3,2", "--batch-size", 16, "--epochs", 3]
    words += ["--scorer", "decay", "--policy", "auto", "--threads", 1, "--out", out]
    ended = run_ranks(2, ["-m", "gnnflow.cli.train", str(folder), *map(str, words)], limit_s=300)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("policy auto on 2 ranks") == 1
    policy = json.loads((out / "summary.json").read_text())["policy"]
    lines = [
        json.loads(line)
        for rank in range(2)
        for line in (out / f"decisions-rank{rank}.jsonl").read_text().splitlines()
    ]
    assert (policy["name"], policy["ranks"], policy["decisions"]) == ("auto", 2, len(lines))
    assert policy["replacements"] == sum(line["decision"]["replace"] for line in lines) > 0
    assert policy["valid_share"] == 1.0 and policy["pass_at_1"] > 0 and policy["errors"] == {}
    words[words.index("auto")] = "autp"
    ended = run_ranks(2, ["-m", "gnnflow.cli.train", str(folder), *map(str, words)], limit_s=300)
    assert ended.returncode != 0
    assert ended.stderr.count("unknown policy 'autp', known are") == 1


def test_a_language_model(folder, tmp_path):
    pytest.importorskip("transformers")
    from tiny_model import save_tiny

    model, out = save_tiny(tmp_path / "tiny"), tmp_path / "run"
    ended = run_example("llm_steered_run.py", folder, "--model", model, "--out", out, "--sync")
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert len(lines) == 4 and all("log-odds" in line for line in lines)
    assert {path.name for path in Path(out).glob("decisions-*")} == {
        "decisions-rank0.jsonl",
        "decisions-rank1.jsonl",
    }
