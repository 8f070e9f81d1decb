"""The halo cache on the contents of Debian: a large real graph with few remote rows per minibatch.

    python -m benchmarks.cache_contents [--quick] [--json FILE]

The rows of `python -m benchmarks.cache` on the graph `debian-contents` (4.3 million vertices),
which is built from the index of contents that this machine's package sources name and kept in the
user's cache folder: 4 METIS parts, 10 % train seeds, fanout 10,10, batches of 2000. With `--quick`
one epoch and one budget, still some minutes.
"""

import dataclasses
import tempfile
from pathlib import Path

from benchmarks._cache_traces import Workload, sample_workload
from benchmarks._harness import benchmark
from benchmarks.cache import (
    BUDGETS,
    compare_books,
    compare_scopes,
    compare_volumes,
)
from gnnflow.errors import DataError

WORKLOAD = Workload(
    name="debian-contents", generate=None, fanout=(10, 10), batch_size=2000, num_epochs=6
)
# More frequent replacement raises traffic here, and sorts the counts of a large halo each time.
PERIODS = (10, 25, 50)


def main() -> None:
    with (
        benchmark("benchmarks.cache_contents", str(__doc__), "Halo cache") as (options, report),
        tempfile.TemporaryDirectory() as folder,
    ):
        workload = dataclasses.replace(WORKLOAD, num_epochs=1 if options.quick else 6)
        try:
            sampled = sample_workload(workload, Path(folder))
        except DataError as error:
            report.absent("the contents of Debian", str(error))
            return
        compare_volumes(
            workload.name,
            sampled.traces,
            report,
            budgets=(0.25,) if options.quick else BUDGETS,
            periods=PERIODS,
        )
        budgets = (0.25,) if options.quick else BUDGETS
        compare_scopes(workload.name, sampled, report, budgets=budgets)
        compare_books(workload, sampled, report)


if __name__ == "__main__":
    main()
