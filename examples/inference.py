"""Uses a trained model: classes and embeddings of vertices, and which vertices are alike.

    gnnflow-train parts --ranks 4 --checkpoint-dir checkpoints
    mpiexec -n 4 python examples/inference.py parts checkpoints

`gnnflow-infer parts checkpoints --ranks 4 --out inference` writes the same files.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import gnnflow
from gnnflow.training import find_checkpoint, infer, load_model_from_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, default=Path("inference"))
    options = parser.parse_args()

    with gnnflow.init() as ctx:
        torch.set_num_threads(ctx.threads)
        graph = gnnflow.DistGraph.open(options.parts, ctx)
        model = load_model_from_checkpoint(find_checkpoint(options.checkpoint))
        infer(model, graph, options.out)

        if ctx.rank == 0:
            # Row i is vertex i of the input. The files are mapped: only what is used is read.
            predictions = np.load(
                options.out / "predictions.npy", mmap_mode="r", allow_pickle=False
            )
            embeddings = np.load(options.out / "embeddings.npy", mmap_mode="r", allow_pickle=False)
            largest = np.bincount(predictions).argmax()
            print(f"{len(predictions)} vertices, most of class {largest}")
            lengths = np.linalg.norm(embeddings, axis=1)
            likeness = embeddings @ embeddings[0] / (lengths * lengths[0]).clip(min=1e-12)
            nearest = np.argsort(-likeness)[1:6]
            print(f"most like vertex 0: {nearest.tolist()}")


if __name__ == "__main__":
    main()
