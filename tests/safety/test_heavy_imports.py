"""What starts without libraries that take seconds to load, each in a fresh interpreter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gnnflow.config import PartitionConfig
from gnnflow.datasets import generate
from gnnflow.partition import partition_graph

HEAVY = {
    *("torch", "torch_geometric", "transformers", "sklearn", "scipy", "matplotlib", "pyarrow"),
    *("pandas", "jinja2", "mpi4py.MPI"),
}
COMMANDS = ("doctor", "infer", "info", "partition", "policy", "replay", "report", "train")
# Arrays are NumPy's up to the loader; only it, models and training make tensors.
WITHOUT_TORCH = (
    *("cache", "comm", "datasets", "doctor", "features", "graph", "launch", "partition"),
    *("policies", "policies.bandit", "policies.classifier.classifier_policy", "prefetch"),
    *("replay", "report", "sampling"),
)


def loaded_by(program: str, *words: object) -> set[str]:
    """Heavy modules that are loaded when a program ends, which must succeed."""
    ended = subprocess.run(
        [sys.executable, "-c", _SHOWING.format(program=program), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return HEAVY & set(json.loads(ended.stdout.splitlines()[-1]))


def run_command(name: str, *words: object) -> set[str]:
    """What a command has loaded in the end."""
    return loaded_by(_COMMAND.format(name=name), *words)


_SHOWING = """
import json, sys
try:
    {program}
except SystemExit as ended:
    assert not ended.code, ended.code
print()
print(json.dumps(list(sys.modules)))
"""
_COMMAND = "from gnnflow.cli import commands; commands.{name}()"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heavy") / "parts"
    graph = generate("sbm:vertices=200,edges=800")
    partition_graph(graph, folder, PartitionConfig(num_parts=2, method="random"))
    return folder


def test_the_package_loads_nothing():
    assert loaded_by("import gnnflow, sys; assert 'numpy' not in sys.modules") == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_shown_at_once(name):
    assert run_command(name, "--help") == set()


def test_partitioning_takes_no_torch(tmp_path):
    words = ["--generate", "sbm:vertices=200,edges=800", "--num-parts", 2]
    assert run_command("partition", *words, "--out", tmp_path / "parts") == set()


def test_a_description_takes_no_torch(parts):
    assert run_command("info", parts) == set()


def test_a_list_of_policies_takes_none_of_them():
    assert run_command("policy", "list") == set()


def test_who_starts_the_ranks_of_a_training_does_not_train(parts):
    told = "from gnnflow.cli import job; job.launch = lambda *_, **__: sys.exit(0); "
    assert loaded_by(told + _COMMAND.format(name="train"), parts, "--ranks", 2) == set()


def test_packages_below_the_loader_take_no_torch():
    program = "import " + ", ".join(f"gnnflow.{name}" for name in WITHOUT_TORCH)
    assert loaded_by(program) <= {"mpi4py.MPI"}


def test_a_rank_loads_scores_and_figures_when_it_has_some():
    loaded = loaded_by("import gnnflow.training.run")
    assert {"torch", "torch_geometric"} <= loaded
    assert not loaded & {"sklearn", "scipy", "matplotlib", "pyarrow", "pandas", "mpi4py.MPI"}
