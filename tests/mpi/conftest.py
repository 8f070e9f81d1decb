"""Runs tests marked `mpi(1, 2, 4)` on each of those numbers of ranks.

On one rank a test runs here, in one process. On several ranks it is not called here: the first one
of a file starts mpiexec for all tests of that file on that number of ranks, and every test reports
what the ranks said. A test that fails ends its job; the tests after it get a new one.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ranks import run_ranks

import gnnflow
from gnnflow.comm import Context
from gnnflow.config import PartitionConfig
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.launch import detect_launch

_RESULTS_VARIABLE = "GNNFLOW_TEST_RESULTS"
_PARTS_VARIABLE = "GNNFLOW_TEST_PARTS"
_START_S, _TEST_S = 120.0, 30.0

IS_RANK = _RESULTS_VARIABLE in os.environ


@pytest.fixture
def ctx(request: pytest.FixtureRequest) -> Iterator[Context]:
    """The context; a test's own parameters `transport` and `threads` go into it."""
    parameters = request.node.callspec.params
    with gnnflow.init(
        transport=parameters.get("transport", "auto"),
        threads=parameters.get("threads", 1),
        comm_timeout_s=60,
    ) as context:
        yield context


@pytest.fixture(scope="session")
def parts(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """Partitions a graph, once for all tests and ranks: `parts(graph, num_parts, method="metis")`.

    Further keywords are fields of `PartitionConfig`.
    """
    shared = os.environ.get(_PARTS_VARIABLE)
    root = Path(shared) if shared else _parts_root(tmp_path_factory)

    def build(graph: RawGraph, num_parts: int, **options: object) -> Path:
        from gnnflow.partition import partition_graph

        config = PartitionConfig(num_parts=num_parts, **options)
        words = [f"{graph.name}-{graph.num_vertices}", num_parts, *options.values()]
        folder = root / "-".join(map(str, words))
        with (root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                partition_graph(graph, folder, config)
        return folder

    return build


def _parts_root(factory: pytest.TempPathFactory) -> Path:
    folder = factory.getbasetemp() / "mpi-parts"
    folder.mkdir(exist_ok=True)
    return folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("mpi")
    if marker is None:
        return
    launched = detect_launch() if IS_RANK else None
    ranks = marker.args if launched is None else [launched.num_ranks]
    if "num_ranks" not in metafunc.fixturenames:
        metafunc.fixturenames.append("num_ranks")
    metafunc.parametrize("num_ranks", ranks, ids=[f"{number}ranks" for number in ranks])


def pytest_collection_finish(session: pytest.Session) -> None:
    groups: dict[tuple[Path, int], list[str]] = {}
    for item in session.items:
        if _runs_elsewhere(item):
            groups.setdefault(_group_of(item), []).append(item.nodeid)
    for (path, num_ranks), nodeids in groups.items():
        # More ranks run few lines that fewer do not, and measuring makes a job up to twice as long.
        fewest = min(number for other, number in groups if other == path)
        measures = _measures(session.config) and num_ranks == fewest
        job = _Job(num_ranks, nodeids, session.config, measures=measures)
        session.config.stash.setdefault(_JOBS, {}).update(dict.fromkeys(nodeids, job))


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if not _runs_elsewhere(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    start = time.perf_counter()
    failure = item.config.stash[_JOBS][item.nodeid].failure_of(item.nodeid)
    report = pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="failed" if failure else "passed",
        longrepr=failure or None,
        when="call",
        duration=time.perf_counter() - start,
    )
    item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    # Module fixtures of an earlier test here may end with this test.
    item.session._setupstate.teardown_exact(nextitem)  # type: ignore[attr-defined]
    return True


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """On a rank, writes what happened; a failure ends the job, for other ranks may wait for it."""
    if not IS_RANK or not (report.failed or report.when == "teardown"):
        return
    launched = detect_launch()
    rank = 0 if launched is None else launched.rank
    path = Path(os.environ[_RESULTS_VARIABLE]) / f"rank{rank}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        entry = [report.nodeid, report.longreprtext if report.failed else ""]
        file.write(json.dumps(entry) + "\n")
    if report.failed:
        time.sleep(1.0)  # ranks that fail too shall write so
        os._exit(1)


def _runs_elsewhere(item: pytest.Item) -> bool:
    return not IS_RANK and item.get_closest_marker("mpi") is not None and _group_of(item)[1] > 1


def _group_of(item: pytest.Item) -> tuple[Path, int]:
    assert isinstance(item, pytest.Function)
    return item.path, item.callspec.params["num_ranks"]


class _Job:
    """All tests of a file on one number of ranks."""

    def __init__(
        self, num_ranks: int, nodeids: list[str], config: pytest.Config, *, measures: bool
    ) -> None:
        self._num_ranks = num_ranks
        self._left = list(nodeids)
        self._config = config
        self._command = ["-m", "coverage", "run", "--parallel-mode"] if measures else []
        self._command += ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
        self._failures: dict[str, str] = {}

    def failure_of(self, nodeid: str) -> str:
        """Returns why a test failed, or nothing if it passed."""
        while nodeid not in self._failures:
            self._run_what_is_left()
        return self._failures[nodeid]

    def _run_what_is_left(self) -> None:
        """Runs tests up to the first failure."""
        parts_root = _parts_root(self._config._tmp_path_factory)  # type: ignore[attr-defined]
        results = parts_root / f"results-{time.monotonic_ns()}"
        results.mkdir()
        command = [*self._command, *self._left]
        environment = {_RESULTS_VARIABLE: str(results), _PARTS_VARIABLE: str(parts_root)}
        limit_s = _START_S + _TEST_S * len(self._left)
        ended = run_ranks(self._num_ranks, command, environment=environment, limit_s=limit_s)
        said: dict[str, dict[int, str]] = {}
        for rank in range(self._num_ranks):
            path = results / f"rank{rank}.jsonl"
            for line in path.read_text("utf-8").splitlines() if path.exists() else ():
                nodeid, failure = json.loads(line)
                said.setdefault(nodeid, {})[rank] = failure
        outcomes = {}
        for nodeid in self._left:
            by_rank = said.get(nodeid, {})
            text = "\n".join(f"rank {rank}:\n{why}" for rank, why in by_rank.items() if why)
            if text or len(by_rank) == self._num_ranks:
                outcomes[nodeid] = text
        if not outcomes:
            tail = f"{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
            text = f"the job ended with exit code {ended.returncode} in this test:\n{tail}"
            outcomes[self._left[0]] = text
        self._failures |= outcomes
        self._left = [nodeid for nodeid in self._left if nodeid not in outcomes]


def _measures(config: pytest.Config) -> bool:
    """Says whether coverage is being measured."""
    return bool(config.getoption("cov_source", default=None))


_JOBS: pytest.StashKey[dict[str, _Job]] = pytest.StashKey()
