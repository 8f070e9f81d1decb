"""A call whose answers cannot come."""

import time

import pytest

from gnnflow.comm import calls
from gnnflow.comm.calls import Call, Request
from gnnflow.errors import CommError


def test_nobody_waits_for_answers_that_cannot_come(monkeypatch):
    monkeypatch.setattr(calls, "_LOOK_EVERY_S", 0.01)
    call = Call("rows of 'x'", [Request(1, (), ())], time.perf_counter() + 60, lambda: False)
    with pytest.raises(CommError, match="no answer to rows of 'x'.*end loaders before it"):
        call.result()
    assert call.peers_owing() == [1] and not call.done()
