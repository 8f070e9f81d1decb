"""A rank of a soak: trains once to warm up, once for long, and tells what the second left over.

python -m benchmarks._soak_rank FOLDER words of gnnflow-train
"""

import ctypes
import functools
import gc
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil

from gnnflow.cli import options
from gnnflow.cli.job import joined_job
from gnnflow.config import TrainConfig
from gnnflow.files.json_text import to_json_text
from gnnflow.launch import detect_launch

# The record of rows asked for grows up to its bound of 32 MiB. Here it is full soon, so that what
# grows after that is a leak.
_RECORDED_IDS = 1 << 16
STEPS_PER_EPOCH = 100


Notes = list[tuple[int, int]]
"""Minibatches done and bytes in use then."""


def main() -> None:
    """Entry point."""
    folder = Path(sys.argv[1])
    words = sys.argv[2:]
    launched = detect_launch()
    rank = 0 if launched is None else launched.rank
    # Two machines of two ranks: shared memory between some, messages between others.
    os.environ["GNNFLOW_HOST"] = f"host{rank // 2}"
    _train([*words, "--epochs", "1", *_outputs(folder / "warm-up")])
    before = _in_use()
    notes = _note_memory()
    _train([*words, *_outputs(folder)])
    found = {"before": before, "after": _in_use(), "in_use": notes}
    (folder / f"left-{rank}.json").write_text(to_json_text(found))


def _outputs(folder: Path) -> list[str]:
    return ["--out", str(folder / "run"), "--checkpoint-dir", str(folder / "checkpoints")]


def _train(words: list[str]) -> None:
    config = options.parse(TrainConfig, prog="gnnflow-train", args=words)
    with joined_job(config.runtime) as ctx:
        from gnnflow.training import run
        from gnnflow.training.data_parallel.process_group import close_process_group
        from gnnflow.training.records.asked_rows import AskedRows

        run.AskedRows = functools.partial(AskedRows, max_ids=_RECORDED_IDS)  # type: ignore[misc,assignment]
        run.train(config, ctx)
        close_process_group()


def _note_memory() -> Notes:
    """Returns a list that grows at the end of every epoch."""
    from gnnflow.training.trainer import Trainer

    notes: Notes = []
    train_epoch = Trainer.train_epoch

    def noted(self: Trainer, epoch: int, *words: Any, **options: Any) -> Any:
        metrics = train_epoch(self, epoch, *words, **options)
        notes.append(((epoch + 1) * STEPS_PER_EPOCH, _allocated_bytes()))
        return metrics

    Trainer.train_epoch = noted  # type: ignore[method-assign]
    return notes


def _allocated_bytes() -> int:
    """Bytes that this process got from the C library and has not given back.

    Memory of its own, as the system counts it, also has what the library keeps for later, which
    depends on how threads take turns.
    """
    gc.collect()
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    with tempfile.NamedTemporaryFile() as file:
        stream = ctypes.c_void_p(library.fopen(file.name.encode(), b"w"))
        library.malloc_info(0, stream)
        library.fclose(stream)
        whole = list(ElementTree.parse(file.name).getroot())
    sizes = {(each.tag, each.get("type")): int(each.get("size", 0)) for each in whole}
    free = sizes["total", "fast"] + sizes["total", "rest"]
    return sizes["system", "current"] - free + sizes["total", "mmap"]


def _in_use() -> dict[str, int]:
    """What this process holds of the system."""
    gc.collect()
    process = psutil.Process()
    return {
        "Python threads": threading.active_count(),
        "threads": process.num_threads(),
        "file descriptors": process.num_fds(),
        "sockets": len(process.net_connections(kind="all")),
    }


if __name__ == "__main__":
    options.run(main)
