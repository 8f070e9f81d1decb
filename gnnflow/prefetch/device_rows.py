"""Rows of minibatches on the device that trains: cached ones stay there, others are copied once.

Everything runs on the device's default stream, whichever thread asks for it: a minibatch's rows are
gathered before later ones take their slots, and the training loop reads what has arrived. A loop
that computes on another stream has to wait for the default one first.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gnnflow.array_types import Ids, Rows
from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.step import CacheStep
from gnnflow.features import DistFeatureStore, RowPlan

# Torch indexes unsigned numbers on few devices; their bits move as well in signed ones.
_CARRIERS = {"uint16": torch.int16, "uint32": torch.int32, "uint64": torch.int64}
_ALIGNED = 64
_NOTHING: Ids = np.zeros(0, dtype=np.int64)


class Fence(Protocol):
    """A point in the work of a device."""

    def synchronize(self) -> None:
        """Waits until the device has come to it."""


class StagingBuffers:
    """Two buffers that take turns: one is filled while the other is still being copied."""

    def __init__(self, record: Callable[[], Fence] | None, *, pin_memory: bool) -> None:
        """Starts with no memory.

        Args:
            record: marks the end of the copies begun so far; None where copies do not go on.
            pin_memory: whether memory is page-locked.
        """
        self._record = record
        self._pin_memory = pin_memory
        self._slabs = [torch.empty(0, dtype=torch.uint8)] * 2
        self._fences: list[Fence | None] = [None, None]
        self._turn = 0

    @property
    def num_bytes(self) -> int:
        """Memory of both."""
        return sum(slab.numel() for slab in self._slabs)

    def take(self, num_bytes: int) -> Tensor:
        """Returns the next buffer, uint8 `[num_bytes]`, once its last copy is done."""
        self._turn = turn = 1 - self._turn
        fence, self._fences[turn] = self._fences[turn], None
        if fence is not None:
            fence.synchronize()
        if self._slabs[turn].numel() < num_bytes:
            # A little more than asked for, so that it fits most minibatches to come.
            size = num_bytes + num_bytes // 8
            self._slabs[turn] = torch.empty(size, dtype=torch.uint8, pin_memory=self._pin_memory)
        return self._slabs[turn][:num_bytes]

    def copy_begun(self) -> None:
        """Notes that the copy out of the buffer taken last is under way."""
        if self._record is not None:
            self._fences[self._turn] = self._record()


@dataclass(frozen=True, slots=True)
class _Arrived:
    """What came to the device for a minibatch and may stay in the cache."""

    step: CacheStep
    fetched: Tensor
    admitted: Tensor
    slots: Tensor


class DeviceRows:
    """Holds the rows of a halo cache on a device and gathers minibatches there.

    Rows that are not cached - own ones, those of mapped parts, those that were fetched, and the
    common rows of a machine's ranks, which stay in the memory that these share - are gathered by
    the CPU into a staging buffer and copied together with all indices, in one copy a minibatch. One
    thread at a time may use it.
    """

    def __init__(
        self, store: DistFeatureStore, device: torch.device, cache: HaloCache | None = None
    ) -> None:
        """Moves the rows of a cache to a device.

        Args:
            store: the rows at hand.
            device: where the rows of minibatches are wanted; the CPU stands in for a GPU in tests.
            cache: keeps its rows there from now on; None for no cache.
        """
        is_gpu = device.type == "cuda"
        if str(device) == "cuda":
            # What it means without a number differs between threads.
            device = torch.device("cuda", torch.cuda.current_device())
        self._store = store
        self._device = device
        self._dtype = torch.from_numpy(np.empty(0, dtype=store.dtype)).dtype
        self._carrier = _CARRIERS.get(store.dtype.name, self._dtype)
        self._staging = StagingBuffers(self._record if is_gpu else None, pin_memory=is_gpu)
        capacity = 0 if cache is None else cache.capacity
        self._cached = torch.empty(
            (capacity, *store.row_shape), dtype=self._carrier, device=self._device
        )
        self._arrived: _Arrived | None = None
        if cache is not None:
            cache.move_rows(self._place)

    @property
    def staging_bytes(self) -> int:
        """Memory of the CPU that rows wait in for their copy."""
        return self._staging.num_bytes

    def gather(
        self,
        plan: RowPlan,
        remote_positions: Ids,
        step: CacheStep | None,
        fetched: Rows,
        host_shares: Sequence[Rows] = (),
    ) -> Tensor:
        """Collects the rows of a minibatch on the device.

        Args:
            plan: where the row of each vertex is.
            remote_positions: int64 `[num_remote]`: the vertices whose rows are cached or fetched.
            step: what the cache decided about them; None without a cache.
            fetched: `[num_fetched, *row_shape]`: what was fetched, the missing rows first.
            host_shares: common rows of this machine, sources of the plan from `num_sources + 2` on.

        Returns:
            `[num_vertices, *row_shape]` on the device, new memory, in the order of the vertices.
        """
        hits, misses = _NOTHING, remote_positions
        slots = admitted = admitted_slots = np.zeros(0, dtype=np.int32)
        if step is not None:
            is_hit = step.slots >= 0
            hits, misses = remote_positions[is_hit], remote_positions[~is_hit]
            slots = step.slots[is_hit]
            admitted, admitted_slots = step.admitted, step.admitted_slots
        is_at_hand = np.ones(plan.num_rows, dtype=np.bool_)
        is_at_hand[remote_positions] = False
        at_hand = np.flatnonzero(is_at_hand)
        placed = np.concatenate([at_hand, misses])
        indices = [placed, hits, slots, admitted, admitted_slots]
        with self._on_device():
            moved, staged = self._stage(
                np.concatenate(indices, dtype=np.int64),
                self._staging_plan(plan, at_hand, len(fetched)),
                [fetched, fetched, *host_shares],
            )
            to_place, to_hits, from_slots, from_fetched, to_slots = torch.split(
                moved, [len(each) for each in indices]
            )
            out = torch.empty(
                (plan.num_rows, *self._store.row_shape), dtype=self._carrier, device=self._device
            )
            out.index_copy_(0, to_place, staged[: len(placed)])
            if len(hits):
                out.index_copy_(0, to_hits, self._cached.index_select(0, from_slots))
        if step is not None:
            self._arrived = _Arrived(step, staged[len(at_hand) :], from_fetched, to_slots)
        return out.view(self._dtype)

    def admit(self, step: CacheStep, fetched: Rows) -> None:
        """Puts the rows that the cache keeps of a minibatch into their slots.

        Args:
            step: what the cache decided.
            fetched: `[num_fetched, *row_shape]`: what was fetched. If the minibatch was gathered
                just now, these rows are on the device already and not copied again.
        """
        arrived, self._arrived = self._arrived, None
        if not len(step.admitted):
            return
        if arrived is None or arrived.step is not step:
            self._place(step.admitted_slots, fetched[step.admitted])
            return
        with self._on_device():
            rows = arrived.fetched.index_select(0, arrived.admitted)
            self._cached.index_copy_(0, arrived.slots, rows)

    def _place(self, slots: npt.NDArray[np.int32], rows: Rows) -> None:
        """Copies rows into slots, and waits for it."""
        with self._on_device():
            moved = torch.from_numpy(np.ascontiguousarray(rows)).view(self._carrier)
            to_slots = torch.from_numpy(slots.astype(np.int64)).to(self._device)
            self._cached.index_copy_(0, to_slots, moved.to(self._device))

    def _staging_plan(self, plan: RowPlan, at_hand: Ids, num_fetched: int) -> RowPlan:
        """Lines up rows at hand and then all that were fetched, those to fill the cache last."""
        fetched_source = np.full(num_fetched, self._store.num_sources, dtype=np.uint8)
        return RowPlan(
            source_of=np.concatenate([plan.source_of[at_hand], fetched_source]),
            row_of=np.concatenate([plan.row_of[at_hand], np.arange(num_fetched)]),
            remote_positions=_NOTHING,
            remote_rows=_NOTHING,
            remote_counts=_NOTHING,
        )

    def _stage(self, indices: Ids, plan: RowPlan, further: Sequence[Rows]) -> tuple[Tensor, Tensor]:
        """Brings indices and planned rows to the device in one copy."""
        store = self._store
        start = -(-indices.nbytes // _ALIGNED) * _ALIGNED
        buffer = self._staging.take(start + plan.num_rows * store.row_bytes)
        content = buffer.numpy()
        content[: indices.nbytes] = indices.view(np.uint8)
        shape = (plan.num_rows, *store.row_shape)
        store.gather(plan, further, content[start:].view(store.dtype).reshape(shape))
        moved = buffer.to(self._device, non_blocking=True)
        self._staging.copy_begun()
        return (
            moved[: indices.nbytes].view(torch.int64),
            moved[start:].view(self._carrier).reshape(shape),
        )

    def _on_device(self) -> contextlib.AbstractContextManager[object]:
        """The default stream of the device, whatever the calling thread has chosen."""
        if self._device.type != "cuda":
            return contextlib.nullcontext()
        return torch.cuda.stream(torch.cuda.default_stream(self._device))

    def _record(self) -> Fence:
        fence: Fence = torch.cuda.default_stream(self._device).record_event()
        return fence
