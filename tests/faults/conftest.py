import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "mpi"))


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small graph in two parts."""
    from small_graphs import power_law

    from gnnflow.config import PartitionConfig
    from gnnflow.partition import partition_graph

    folder = tmp_path_factory.mktemp("faults") / "parts"
    partition_graph(power_law(), folder, PartitionConfig(num_parts=2, method="random"))
    return folder


@pytest.fixture(scope="session")
def expected(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """What a run computes that meets no fault."""
    from jobs import NUM_EPOCHS, STEPS, TRAINING, computed, train

    out = tmp_path_factory.mktemp("whole") / "run"
    train(parts, *TRAINING, "--ranks", 2, "--out", out)
    assert len(computed(out)) == NUM_EPOCHS * STEPS * 2
    return computed(out)
