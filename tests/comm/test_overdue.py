"""What a time-out is blamed on."""

import json

import pytest

from gnnflow.comm.overdue import Inquiry

STEP = "epoch 1, step 7"
START = f"at {STEP} within 20 s (--comm-timeout): "


def status(step: str = STEP, collectives: int = 5, paused_s: float = 0.0) -> bytes:
    words = {"step": step, "collectives": collectives, "paused_s": paused_s}
    return json.dumps(words).encode()


@pytest.mark.parametrize(
    ("reason", "own_pause_s", "statuses", "end"),
    [
        # gloo's own words for a time-out.
        (
            "Timed out waiting 20000ms for recv operation",
            0.0,
            {2: status()},
            "rank 1 does not respond",
        ),
        (
            "Timed out waiting",
            0.0,
            {1: status(), 2: status(paused_s=31.2)},
            "rank 2 was held up for 31 s",
        ),
        ("Timed out waiting", 31.2, {1: status(), 2: status()}, "rank 0 was held up for 31 s"),
        (
            "Timed out waiting",
            0.0,
            {1: status("epoch 1, step 6"), 2: status()},
            "rank 1 responds, at epoch 1, step 6, but has not come to it",
        ),
        (
            "",
            0.0,
            {1: status(), 2: status(collectives=4)},
            f"rank 2 responds, at {STEP}, but has not come to it",
        ),
        ("", 0.0, {1: status(), 2: status()}, "all ranks respond, the network may be slow"),
    ],
)
def test_a_time_out_names_rank_and_option(reason, own_pause_s, statuses, end):
    inquiry = Inquiry(
        "the sum of gradients",
        STEP,
        20.0,
        owing=None,
        num_collectives=5,
        num_others=2,
        reason=reason,
    )
    for rank, data in statuses.items():
        inquiry.hear(rank, data)
    failure = inquiry.failure(0, own_pause_s)
    assert failure.text == f"no end of the sum of gradients {START}{end}"


def test_a_closed_connection_is_no_time_out():
    inquiry = Inquiry(
        "the sum of gradients",
        STEP,
        20.0,
        owing=None,
        num_collectives=5,
        num_others=1,
        reason="Connection closed by peer",
    )
    assert inquiry.failure(0, 0.0).text == (
        f"the sum of gradients at {STEP} failed (Connection closed by peer): "
        "rank 1 does not respond"
    )
