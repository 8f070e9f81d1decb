"""Writes the traces that the classifiers and the tuned language model have learnt from.

    python -m benchmarks.policy_traces FOLDER

One folder for each graph; `gnnflow-policy collect` makes situations of them, `gnnflow-policy fit`
and `gnnflow-policy tune-llm` learn from those.
"""

import tempfile
from pathlib import Path

from benchmarks._harness import parser_of
from benchmarks._policy_graphs import TRAINING, UNSEEN
from benchmarks._traces import sample_workload
from gnnflow.replay.trace import write_trace


def main() -> None:
    parser = parser_of("benchmarks.policy_traces", __doc__)
    parser.add_argument("folder", type=Path, help="folder to write to")
    folder = parser.parse_args().folder
    for workload in (*TRAINING, *UNSEEN):
        target = folder / workload.name
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            for trace in sample_workload(workload, Path(scratch)).traces:
                write_trace(target, trace)
        print(target)


if __name__ == "__main__":
    main()
