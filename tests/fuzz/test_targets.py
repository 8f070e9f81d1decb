"""Every target of the fuzzer, with made-up inputs that are the same in every run.

`run.py` beside this file tries millions; these few hundred keep what it found from coming back.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("pyarrow")
pytest.importorskip("skops")

from run import NAMES  # noqa: E402
from target import Target, Unsafe, attempt  # noqa: E402
from targets import TARGETS  # noqa: E402

EXAMPLES = {"yaml": 15, "classifiers": 25, "run-folders": 40}
"""Inputs to try of targets that take longest."""


@pytest.fixture(scope="module")
def made() -> Iterator[dict[str, Target]]:
    targets: dict[str, Target] = {}
    yield targets
    for target in targets.values():
        target.close()


def check(target: Target, data: bytes) -> None:
    finding = attempt(target, data)
    if finding is not None:
        raise AssertionError(f"input {data.hex()} of {target.name}") from finding


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_end_well(
    name: str, made: dict[str, Target], tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = made.setdefault(name, TARGETS[name](tmp_path_factory.mktemp(name)))
    for seed in target.seeds()[:: 1 + len(target.seeds()) // 40]:
        check(target, seed)

    @settings(
        max_examples=EXAMPLES.get(name, 80),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(max_size=48))
    @example(b"")
    def try_one(data: bytes) -> None:
        check(target, data)

    try_one()


def test_the_command_knows_all_targets() -> None:
    assert sorted(NAMES) == sorted(TARGETS)


class Careless(Target):
    """A reader that does what no reader may."""

    name = "careless"
    modules = ()

    def run(self, data: bytes) -> None:
        if data == b"write":
            (self.folder.parent / "outside").write_text("")
        elif data == b"run":
            import os

            os.system("true")
        elif data == b"inside":
            (self.folder / "inside").write_text("")
        else:
            raise IndexError(data)


def test_what_may_not_happen_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    careless = Careless(tmp_path / "own")
    assert isinstance(attempt(careless, b"write"), Unsafe)
    assert isinstance(attempt(careless, b"run"), Unsafe)
    assert isinstance(attempt(careless, b"other"), IndexError)
    assert attempt(careless, b"inside") is None
