import subprocess
import sys

import numpy as np
import pytest

import gnnflow
from gnnflow.errors import CommError


def test_one_process() -> None:
    with gnnflow.init() as ctx:
        assert (ctx.rank, ctx.num_ranks, ctx.host_rank, ctx.num_hosts) == (0, 1, 0, 1)
        assert ctx.ranks_on_host == (0,)
        assert ctx.threads >= 1
        assert ctx.service is None
        assert ctx.transport_to(0) == "local"
        ctx.barrier()
        values = np.arange(3)
        total = ctx.allreduce_sum(values)
        total += 1
        (gathered,) = ctx.allgather_array(values)
        gathered += 1
        np.testing.assert_array_equal(values, [0, 1, 2])
        assert ctx.allgather_json((1, "two")) == [[1, "two"]]
        assert ctx.broadcast_json({"a": 1}) == {"a": 1}
        with pytest.raises(CommError, match="dtype object cannot be sent"):
            ctx.allgather_array(np.array([object()]))


def test_errors_pass_through() -> None:
    with pytest.raises(ZeroDivisionError), gnnflow.init(threads=3) as ctx:
        assert ctx.threads == 3
        _ = 1 / 0


def test_abort_ends_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, gnnflow.init() as ctx:
        ctx.abort("no more")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "gnnflow: error: no more\n"


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("gnnflow.init(threads=0)", "threads must be at least 1, got 0"),
        ("with gnnflow.init(): raise gnnflow.GnnflowError('too much')", "too much"),
        ("gnnflow.init(); bytearray(1 << 62)", "out of memory"),
        ("gnnflow.init(); 1 / 0", "Traceback"),
    ],
)
def test_what_a_user_can_mend_is_told_on_one_line(program: str, line: str) -> None:
    """As on several ranks; a bug keeps its traceback."""
    ended = subprocess.run(
        [sys.executable, "-c", f"import gnnflow\n{program}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    if line == "Traceback":
        assert ended.stderr.startswith(line) and "ZeroDivisionError" in ended.stderr
    else:
        assert ended.stderr.startswith(f"-c: error: {line}")
        assert ended.stderr.count("\n") == 1
