import threading
from collections.abc import Iterator

import numpy as np
import pytest

import gnnflow
from gnnflow.comm import Context
from gnnflow.comm.calls import Request
from gnnflow.comm.exchange import ExchangeService
from gnnflow.comm.messages import Message
from gnnflow.errors import CommError

pytestmark = pytest.mark.mpi(2, 4)


@pytest.fixture
def service() -> Iterator[ExchangeService]:
    """A service that cuts messages into parts of 1000 bytes."""
    from gnnflow.comm.collectives import barrier
    from gnnflow.comm.mpi_library import MPI

    with gnnflow.init():
        pass  # starts MPI
    exchange = ExchangeService(MPI.COMM_WORLD, timeout_s=60, message_limit_bytes=1000)
    yield exchange
    exchange.collective("the end", barrier).result()
    exchange.stop()


def others(service: ExchangeService) -> list[int]:
    return [rank for rank in range(service.num_ranks) if rank != service.rank]


@pytest.mark.parametrize("size", [0, 1, 50, 113, 114, 125, 126, 1000, 12345])
def test_messages_longer_than_the_limit(
    service: ExchangeService, num_ranks: int, size: int
) -> None:
    service.serve_arrays("twice", lambda message: [message.arrays[0] * 2, message.arrays[1]])
    for _ in range(3):
        questions = [
            Request(
                peer,
                (service.rank,),
                (np.arange(size) + peer, np.full(size, service.rank, np.int32)),
            )
            for peer in others(service)
        ]
        call = service.call("twice", "twice", questions)
        for request, message in zip(questions, call.result(), strict=True):
            assert message is not None
            np.testing.assert_array_equal(message.arrays[0], (np.arange(size) + request.peer) * 2)
            np.testing.assert_array_equal(message.arrays[1], np.full(size, service.rank))
        call.release(service.pool.give)


def test_answers_in_parts(service: ExchangeService, num_ranks: int) -> None:
    def answer(message: Message) -> Iterator[np.ndarray]:
        for length in message.arrays[0].tolist():
            part = service.pool.take(length)
            part[:] = length % 251
            yield part

    service.serve_parts("parts", answer)
    lengths = np.array([0, 1, 10_000, 999, 1001, 2_000_000, 7, 0, 5, 6])
    into = {
        peer: [np.zeros(length, np.uint8) for length in lengths.tolist()]
        for peer in others(service)
    }
    questions = [Request(peer, (), (lengths,), parts) for peer, parts in into.items()]
    call = service.call("parts", "parts", questions)
    assert list(call.result()) == [None] * len(questions)
    assert call.done() and not call.peers_owing()
    for parts in into.values():
        for part in parts:
            assert (part == part.size % 251).all()


def test_questions_may_come_before_there_is_an_answer(
    service: ExchangeService, num_ranks: int
) -> None:
    from gnnflow.comm.collectives import barrier

    questions = [Request(peer, (), (np.arange(3),)) for peer in others(service)]
    early = service.call("late", "late", questions)
    service.collective("all have asked", barrier).result()
    service.serve_arrays("late", lambda message: [message.arrays[0] + 1])
    for message in early.result():
        assert message is not None
        np.testing.assert_array_equal(message.arrays[0], [1, 2, 3])


def test_a_name_can_be_served_again(service: ExchangeService, num_ranks: int) -> None:
    from gnnflow.comm.collectives import barrier

    questions = [Request(peer, (), ()) for peer in others(service)]
    for number in range(3):
        service.serve_arrays("number", lambda message, number=number: [np.array([number])])
        for message in service.call("number", "number", questions).result():
            assert message is not None and message.arrays[0][0] == number
        service.collective("all have asked", barrier).result()
        service.withdraw("number")
        service.collective("all have withdrawn", barrier).result()


def test_many_questions_from_several_threads(service: ExchangeService, num_ranks: int) -> None:
    service.serve_arrays("echo", lambda message: message.arrays)

    def ask(thread: int) -> None:
        rng = np.random.default_rng(thread)
        for _ in range(50):
            data = rng.integers(0, 100, rng.integers(0, 300))
            call = service.call(
                "echo", "echo", [Request(peer, (), (data,)) for peer in others(service)]
            )
            for message in call.result():
                if message is None or not np.array_equal(message.arrays[0], data):
                    wrong.append(thread)
            call.release(service.pool.give)

    wrong: list[int] = []
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_windows_are_read_by_gets_and_as_memory(service: ExchangeService, num_ranks: int) -> None:
    def rows_of(rank: int) -> np.ndarray:
        return np.random.default_rng(rank).integers(0, 256, (40 + rank, 12), dtype=np.uint8)

    own = rows_of(service.rank)
    readable = service.open_window("rows", len(own), 12, lambda memory: np.copyto(memory, own))
    for peer, rows in readable.items():
        np.testing.assert_array_equal(rows, rows_of(peer))
    wanted = np.array([3, 3, 39, 0, 7], dtype=np.int32)
    into = [np.zeros((5, 12), dtype=np.uint8) for _ in others(service)]
    requests = [
        Request(peer, (), (wanted,), [rows[:2].reshape(-1), rows[2:].reshape(-1)])
        for peer, rows in zip(others(service), into, strict=True)
    ]
    service.get("rows", "rows", requests).result()
    for peer, rows in zip(others(service), into, strict=True):
        np.testing.assert_array_equal(rows, rows_of(peer)[wanted])


def test_nothing_can_be_asked_after_the_end(ctx: Context, num_ranks: int) -> None:
    service = ctx.service
    assert service is not None
    assert service.call("anything", "nothing", []).done()
    ctx.close()
    with pytest.raises(CommError, match="the context is closed"):
        service.call("anything", "something", [Request((ctx.rank + 1) % num_ranks, (), ())])


def test_gathering_more_than_one_message_holds(service: ExchangeService, num_ranks: int) -> None:
    from gnnflow.comm.collectives import allgather_array

    values = np.arange(300 * service.rank) + service.rank
    gathered = service.collective(
        "gathering", lambda comm: allgather_array(comm, values, limit_bytes=1000)
    ).result()
    for rank, array in enumerate(gathered):
        np.testing.assert_array_equal(array, np.arange(300 * rank) + rank)
