"""Runs a partitioner as a process of its own.

So it can be interrupted, what it aborts on or runs out of memory over ends that process alone,
and its memory goes back to the system at the end.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnnflow.errors import GnnflowError

REMEDY = "use --method ldg, which needs less memory"
"""What to do when a partitioner gives up."""


def run_solver(
    name: str,
    script: Path,
    job: Mapping[str, Any],
    scratch: Path,
    *,
    flags: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Runs a script in the scratch folder and reads the `result.json` that it leaves there.

    Args:
        name: of the partitioner, for messages.
        script: gets the job as its only argument, in JSON.
        job: what to do, with `num_vertices` and `num_parts`.
        scratch: folder for files that are not kept.
        flags: of the interpreter.
        environment: variables to set beside those of this process.

    Raises:
        GnnflowError: if the process ends without a result.
    """
    result_path = scratch / "result.json"
    result_path.unlink(missing_ok=True)
    finished = subprocess.run(
        [sys.executable, *flags, str(script), json.dumps(job)],
        cwd=scratch,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if finished.returncode or not result_path.exists():
        said = finished.stderr.strip() or finished.stdout.strip() or "it said nothing"
        cause = f"exit code {finished.returncode}"
        if finished.returncode < 0:
            cause = f"signal {-finished.returncode}, as when memory runs out"
        raise GnnflowError(
            f"{name} ended with {cause} on {size_words(job)} ({said.splitlines()[-1]}); {REMEDY}"
        )
    result: dict[str, Any] = json.loads(result_path.read_text(encoding="utf-8"))
    return result


def size_words(job: Mapping[str, Any], num_entries: int | None = None) -> str:
    """Says how large the graph of a job is."""
    entries = "" if num_entries is None else f" and {num_entries} adjacency entries"
    return f"{job['num_vertices']} vertices{entries} in {job['num_parts']} parts"
