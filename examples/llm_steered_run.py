"""A language model steers the halo cache of a training run; its decisions are printed.

    gnnflow-policy get-model
    gnnflow-partition --dataset debian-packages --num-parts 2 --out parts
    mpiexec -n 2 python examples/llm_steered_run.py parts

One model server per machine answers the questions of all its ranks while training goes on.
`--model` takes any causal model of transformers: a folder, a GGUF file, or a name on the hub.
"""

import argparse
import json
from pathlib import Path

import torch.nn.functional as F
from torch.optim import Adam
from torch_geometric.nn import GraphSAGE

import gnnflow
from gnnflow.config import CacheConfig, PolicyConfig
from gnnflow.policies import decision_log_name


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts")
    parser.add_argument("--model", default="smollm2-135m-tuned")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("llm-run"))
    parser.add_argument("--sync", action="store_true", help="wait for every answer")
    options = parser.parse_args()

    # Every rank counts as a machine of its own, so that there is something to fetch and to cache.
    with gnnflow.init(transport="alltoall") as ctx:
        graph = gnnflow.DistGraph.open(options.parts, ctx)
        policy = PolicyConfig(
            policy="llm",
            llm_model=options.model,
            policy_mode="sync" if options.sync else "async",
        )
        loader = gnnflow.DistNeighborLoader(
            graph,
            fanout=[10, 10],
            cache=CacheConfig(scorer="decay"),
            num_epochs=options.epochs,
            policy=policy,
            run_dir=options.out,
        )
        model = gnnflow.wrap(GraphSAGE(graph.num_features, 64, 2, graph.num_classes), ctx)
        optimizer = Adam(model.parameters(), lr=0.01)
        for _ in range(options.epochs):
            for batch in loader:
                out = model(batch.x, batch.edge_index)[: batch.batch_size]
                optimizer.zero_grad()
                F.cross_entropy(out, batch.y).backward()
                optimizer.step()
        loader.finish()
        if ctx.rank == 0:
            show(options.out / decision_log_name(0))


def show(path: Path) -> None:
    """Prints the decisions of a rank, one a line."""
    for text in path.read_text().splitlines():
        line = json.loads(text)
        hit_rate = line["observation"]["window"]
        hit_rate = hit_rate["hit_rows"] / max(hit_rate["remote_rows"], 1)
        decision = line["decision"] or {"replace": None, "explanation": line["error"]}
        word = {True: "replace", False: "keep", None: "no answer"}[decision["replace"]]
        outcome = line["outcome"]
        effect = "" if outcome is None else f", volume {outcome['volume_change']:+.1%} afterwards"
        print(
            f"minibatch {line['minibatch']:4}: hit rate {hit_rate:.3f}, {word} "
            f"({decision['explanation']}; {1e3 * line['latency_s']:.0f} ms{effect})"
        )


if __name__ == "__main__":
    main()
