"""`gnnflow-infer`: predictions and embeddings of vertices from a trained model."""

import sys

from gnnflow.cli import options
from gnnflow.cli.job import joined_job, start_ranks
from gnnflow.config import InferConfig


def main() -> None:
    """Entry point of the command."""
    options.run(_infer)


def _infer() -> None:
    config = options.parse(InferConfig, prog="gnnflow-infer")
    start_ranks(config.parts, config.ranks, "gnnflow.cli.infer")
    with joined_job(config) as ctx:
        # Imported here so that wrong options are told at once: torch takes seconds to load.
        from gnnflow.training.evaluation.inference import run_inference

        run_inference(config, ctx)


if __name__ == "__main__":
    sys.argv[0] = "gnnflow-infer"  # what ranks that --ranks started call themselves in messages
    main()
