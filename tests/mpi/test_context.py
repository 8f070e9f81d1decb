import sys
import threading

import numpy as np
import pytest

import gnnflow
from gnnflow.comm import Context
from gnnflow.errors import CommError, ConfigError

pytestmark = pytest.mark.mpi(1, 2, 4)


def test_ranks(ctx: Context, num_ranks: int) -> None:
    assert ctx.num_ranks == num_ranks
    assert ctx.allgather_json(ctx.rank) == list(range(num_ranks))
    assert ctx.num_hosts == 1
    assert ctx.ranks_on_host == tuple(range(num_ranks))
    assert ctx.host_rank == ctx.rank
    assert (ctx.service is None) == (num_ranks == 1)


def test_allreduce_sum(ctx: Context, num_ranks: int) -> None:
    for dtype in (np.int32, np.int64, np.float32, np.float64):
        values = np.arange(6, dtype=dtype).reshape(2, 3) + ctx.rank
        before = values.copy()
        total = ctx.allreduce_sum(values)
        expected = np.arange(6).reshape(2, 3) * num_ranks + sum(range(num_ranks))
        np.testing.assert_array_equal(total, expected)
        np.testing.assert_array_equal(values, before)
        assert total.dtype == dtype and total is not values
    assert ctx.allreduce_sum(2.5) == 2.5 * num_ranks
    assert ctx.allreduce_sum(np.empty((0, 3))).shape == (0, 3)


def test_allgather_arrays_of_different_shapes(ctx: Context, num_ranks: int) -> None:
    gathered = ctx.allgather_array(np.full((ctx.rank, 2), ctx.rank, dtype=np.float16))
    assert [array.shape for array in gathered] == [(rank, 2) for rank in range(num_ranks)]
    assert all((array == rank).all() for rank, array in enumerate(gathered))
    assert gathered[0].dtype == np.float16
    transposed = np.arange(6).reshape(2, 3).T
    for array in ctx.allgather_array(transposed):
        np.testing.assert_array_equal(array, transposed)
    assert ctx.allgather_array(np.bool_(True))[0].shape == ()


def test_exchange_arrays(ctx: Context, num_ranks: int) -> None:
    sent = [np.full(rank * ctx.rank, 10 * ctx.rank + rank) for rank in range(num_ranks)]
    received = ctx.exchange_arrays(sent)
    assert len(received) == num_ranks
    for rank, array in enumerate(received):
        np.testing.assert_array_equal(array, np.full(rank * ctx.rank, 10 * rank + ctx.rank))
        assert array.dtype == np.int64


def test_json(ctx: Context, num_ranks: int) -> None:
    values = ctx.allgather_json({"rank": ctx.rank, "text": "ä" * ctx.rank})
    assert values == [{"rank": rank, "text": "ä" * rank} for rank in range(num_ranks)]
    root = num_ranks - 1
    assert ctx.broadcast_json({"from": ctx.rank}, root=root) == {"from": root}
    assert ctx.broadcast_json(None) is None


def test_objects_are_refused_everywhere(ctx: Context, num_ranks: int) -> None:
    with pytest.raises(CommError, match="dtype object"):
        ctx.allgather_array(np.array([{}]))
    ctx.barrier()


def test_shutdown_leaves_nothing(num_ranks: int) -> None:
    threads, hook, interval = threading.active_count(), sys.excepthook, sys.getswitchinterval()
    for _ in range(3):
        with gnnflow.init() as context:
            context.barrier()
            assert threading.active_count() == threads + (num_ranks > 1)
        context.close()
        assert threading.active_count() == threads
        assert sys.excepthook is hook
        assert sys.getswitchinterval() == interval


def test_bad_arguments_fail_before_anything_starts(num_ranks: int) -> None:
    with pytest.raises(ConfigError, match="transport must be one of"):
        gnnflow.init(transport="carrier pigeon")
    with pytest.raises(ConfigError, match="comm_timeout_s must be positive"):
        gnnflow.init(comm_timeout_s=0)
    with pytest.raises(ConfigError, match="threads must be at least 1"):
        gnnflow.init(threads=0)


def test_transport_by_peer(num_ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rank_names = {1: ["one"], 2: ["one", "two"], 4: ["one", "two", "one", "two"]}[num_ranks]
    with gnnflow.init() as context:
        rank = context.rank
    monkeypatch.setenv("GNNFLOW_HOST", rank_names[rank])
    with gnnflow.init() as context:
        assert context.num_hosts == min(num_ranks, 2)
        for other, name in enumerate(rank_names):
            same = "local" if other == rank else "shared"
            expected = same if name == rank_names[rank] else "alltoall"
            assert context.transport_to(other) == expected
    with gnnflow.init(transport="alltoall") as context:
        others = set(range(num_ranks)) - {rank}
        assert all(context.transport_to(other) == "alltoall" for other in others)
