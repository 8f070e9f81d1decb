"""Runs tests marked `mpi(1, 2, 4)` on each of those numbers of ranks.

On one rank a test runs here, in one process. On several ranks it is not called here: one job for
each number of ranks runs all tests of all files, and every test reports what the ranks said of it
as soon as they have (`rank_jobs.py`). A test that fails, crashes or hangs ends its job and is
named; the tests after it get a new one.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from process_state import process_state_restored
from rank_jobs import PARTS_VARIABLE, RESULTS_VARIABLE, RankJobs, note

import gnnflow
from gnnflow.comm import Context
from gnnflow.config import PartitionConfig
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.launch import detect_launch

IS_RANK = RESULTS_VARIABLE in os.environ


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    """Tests share the process of a rank; `ctx` ends the loaders and threads that use it."""
    with process_state_restored():
        yield


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
    shared = os.environ.get(PARTS_VARIABLE)
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts tests of one number of ranks together, after those that run here.

    A job goes on while its tests are reported: nothing else may need the cores meanwhile.
    """
    here = Path(__file__).parent
    places = [number for number, item in enumerate(items) if item.path.is_relative_to(here)]
    ordered = sorted((items[place] for place in places), key=_ranks_elsewhere)
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


def pytest_collection_finish(session: pytest.Session) -> None:
    groups: dict[int, list[str]] = {}
    for item in session.items:
        if num_ranks := _ranks_elsewhere(item):
            groups.setdefault(num_ranks, []).append(item.nodeid)
    if not groups:
        return
    folder = _parts_root(session.config._tmp_path_factory)  # type: ignore[attr-defined]
    for num_ranks, nodeids in groups.items():
        # More ranks run few lines that fewer do not, and measuring makes a job up to twice as long.
        measures = _measures(session.config) and num_ranks == min(groups)
        jobs = RankJobs(num_ranks, nodeids, folder, measures=measures)
        session.config.stash.setdefault(_JOBS, {}).update(dict.fromkeys(nodeids, jobs))


def pytest_sessionfinish(session: pytest.Session) -> None:
    for jobs in set(session.config.stash.get(_JOBS, {}).values()):
        jobs.stop()


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if not _ranks_elsewhere(item):
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


def pytest_runtest_logstart(nodeid: str) -> None:
    if IS_RANK:
        note("started", nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """On a rank, writes what happened; a failure ends the job, for other ranks may wait for it."""
    if not IS_RANK or not (report.failed or report.when == "teardown"):
        return
    note("failed" if report.failed else "passed", report.nodeid, report.longreprtext)
    if report.failed:
        time.sleep(1.0)  # ranks that fail too shall write so
        os._exit(1)


def _ranks_elsewhere(item: pytest.Item) -> int:
    """The ranks of the job that runs a test; 0 if it runs here."""
    if IS_RANK or item.get_closest_marker("mpi") is None or not isinstance(item, pytest.Function):
        return 0
    num_ranks: int = item.callspec.params["num_ranks"]
    return num_ranks if num_ranks > 1 else 0


def _measures(config: pytest.Config) -> bool:
    """Says whether coverage is being measured."""
    return bool(config.getoption("cov_source", default=None))


_JOBS: pytest.StashKey[dict[str, RankJobs]] = pytest.StashKey()
