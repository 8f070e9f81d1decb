"""The halo cache on the contents of Debian: a large real graph with few remote rows per minibatch.

    python -m benchmarks.cache_contents [--quick] [--json FILE]

The rows of `python -m benchmarks.cache` on the graph `debian-contents` (4.3 million vertices),
which is built from the index of contents that this machine's package sources name and kept in the
user's cache folder: 4 METIS parts, 10 % train seeds, fanout 10,10, batches of 2000. With `--quick`
one epoch and one budget, still some minutes.
"""

from dataclasses import replace

from benchmarks._harness import Options, Report, run_benchmark
from benchmarks._traces import TraceWorkload
from benchmarks.cache import compare_workload
from gnnflow.errors import DataError

WORKLOAD = TraceWorkload(
    name="debian-contents", generate=None, fanout=(10, 10), batch_size=2000, num_epochs=6
)
# More frequent replacement raises traffic here, and sorts the counts of a large halo each time.
PERIODS = (10, 25, 50)


def compare(options: Options, report: Report) -> None:
    """Adds the rows, if the graph is to be had here."""
    workload = replace(WORKLOAD, num_epochs=1) if options.quick else WORKLOAD
    try:
        compare_workload(workload, options, report, periods=PERIODS)
    except DataError as error:
        report.absent("the contents of Debian", str(error))


if __name__ == "__main__":
    run_benchmark("benchmarks.cache_contents", __doc__, "Halo cache", compare)
