"""A rank of a soak: trains once to warm up, once for long, and tells what the second left over.

python -m benchmarks._soak_rank FOLDER words of gnnflow-train
"""

import functools
import gc
import json
import os
import sys
import threading
from pathlib import Path

import psutil

from gnnflow.cli import options
from gnnflow.comm import detect_launch, init
from gnnflow.config import TrainConfig

# The record of rows asked for grows up to its bound of 32 MiB. Here it is full soon, so that what
# grows after that is a leak.
_RECORDED_IDS = 1 << 16


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
    _train([*words, *_outputs(folder)])
    (folder / f"left-{rank}.json").write_text(json.dumps({"before": before, "after": _in_use()}))


def _outputs(folder: Path) -> list[str]:
    return ["--out", str(folder / "run"), "--checkpoint-dir", str(folder / "checkpoints")]


def _train(words: list[str]) -> None:
    config = options.parse(TrainConfig, prog="gnnflow-train", args=words)
    runtime = config.runtime
    with init(
        transport=runtime.transport, comm_timeout_s=runtime.comm_timeout, threads=runtime.threads
    ) as ctx:
        ctx.end_on_interrupt()
        from gnnflow.training import run
        from gnnflow.training.optimum import AskedRows
        from gnnflow.training.process_group import close_process_group

        run.AskedRows = functools.partial(AskedRows, max_ids=_RECORDED_IDS)  # type: ignore[misc,assignment]
        run.train(config, ctx)
        close_process_group()


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
