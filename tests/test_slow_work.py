"""What takes long says so; what does not is silent."""

import time

import pytest

from gnnflow.terminal import SlowWork


def test_slow_work_says_how_far_it_is_and_when_it_is_over(capfd):
    with SlowWork("sorting", after_s=0.05) as work:
        work.tell(0.4)
        time.sleep(0.4)
    first, *_, last = capfd.readouterr().out.splitlines()
    assert first == "sorting: 0 s so far, 40%"
    assert last == "sorting: done in 0 s"


def test_quick_work_and_other_ranks_say_nothing(capfd):
    with SlowWork("sorting"):
        pass
    with SlowWork("sorting", show=False, after_s=0.01):
        time.sleep(0.05)
    assert capfd.readouterr() == ("", "")


def test_an_error_passes_through(capfd):
    with pytest.raises(KeyError), SlowWork("sorting", after_s=0.01):
        time.sleep(0.05)
        raise KeyError
    assert "done" not in capfd.readouterr().out
