"""Policies steer training: by the code that replays run, and without changing what is computed."""

import dataclasses
import json

import pytest
from small_graphs import power_law

import gnnflow
from gnnflow.config import CacheConfig, PolicyConfig
from gnnflow.loader import DistNeighborLoader
from gnnflow.models import make_model
from gnnflow.policies import Decision, DecisionLog, decision_log_name
from gnnflow.policies.auto import AutoPolicy
from gnnflow.policies.bandit import BanditPolicy
from gnnflow.replay import ReplaySettings, read_trace
from gnnflow.replay.policy_replay import replay_with_policy
from gnnflow.training import wrap
from gnnflow.training.records.run_trace import RunTrace
from gnnflow.training.records.step_metrics import EpochRecorder
from gnnflow.training.tasks import task_of
from gnnflow.training.trainer import Trainer, attach_layers

pytestmark = pytest.mark.mpi(2)

FANOUT = (3, 2)
NUM_EPOCHS = 4
SYNC = PolicyConfig(policy_mode="sync")
FREE = PolicyConfig(
    policy_mode="sync", steer_wire="int8", steer_exchange_every=4, steer_lookahead=6
)


class Whimsical:
    """Looks at everything that the observation has, times included, and at nothing else."""

    name = "whimsical"

    def decide(self, observation):
        numbers = json.dumps(observation.minibatch) + repr(observation.window)
        mark = sum(numbers.encode()) % 4
        return Decision(replace=mark > 0, fraction=None if mark == 1 else mark / 4)


class Restless(Whimsical):
    """Changes everything that a policy may change."""

    name = "restless"

    def decide(self, observation):
        number = observation.minibatch
        return dataclasses.replace(
            super().decide(observation),
            lookahead=1 + number % 9,
            exchange_every=9,
            wire_dtype=("stored", "bfloat16", "int8")[(number + 1) // 8 % 3],
        )


POLICIES = {
    "auto": AutoPolicy,
    "bandit": BanditPolicy,
    "whimsical": Whimsical,
    "restless": Restless,
}
CACHES = [
    CacheConfig(scorer="decay", alpha=0.2, period=3),
    CacheConfig(scorer="decay", cache_fill="degree", prefetch_depth=0, exchange_every=2),
    CacheConfig(cache_fill="vip", cache_fraction=0.2),
    CacheConfig(scorer="lru", period=5, lookahead=3, prefetch_depth=4, exchange_every=3),
]


def open_graph(ctx, parts):
    return gnnflow.DistGraph.open(parts(power_law(), ctx.num_ranks, method="random"), ctx)


def make_loader(graph, **options):
    options = {"batch_size": 16, "num_epochs": NUM_EPOCHS, "seed": 4} | options
    return DistNeighborLoader(graph, "train", FANOUT, **options)


def train(graph, folder=None, **options):
    """Trains; returns the losses of all steps and the finished loader."""
    import torch

    torch.manual_seed(0)
    wrapped = wrap(make_model("sage", [7, 8, 5]), graph.ctx)
    loader = make_loader(graph, transform=attach_layers, run_dir=folder, **options)
    trace = None
    if folder is not None:
        trace = RunTrace(folder, graph, loader, wrapped, fanout=FANOUT, batch_size=16)
    recorder = EpochRecorder(graph.ctx)
    optimizer = torch.optim.Adam(wrapped.parameters(), lr=0.01)
    recorders = [] if trace is None else [trace]
    trainer = Trainer(
        wrapped, loader, optimizer, task_of(graph.manifest), recorder, recorders=recorders
    )
    losses = []
    for epoch in range(NUM_EPOCHS):
        trainer.train_epoch(epoch)
        losses += recorder.job_losses
    loader.finish()
    if trace is not None:
        trace.save()
    return losses, loader


def read_decisions(path):
    """The lines of a decision log without what a clock measured of the policy itself."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        del line["latency_s"]
        if line["decision"] is not None:
            del line["decision"]["latency_s"]
    return lines


@pytest.mark.parametrize("transport", ["alltoall"])
def test_a_run_and_its_replay_see_and_decide_the_same(ctx, parts, transport, tmp_path):
    graph = open_graph(ctx, parts)
    expected, _ = train(graph)
    wire_dtypes = set()
    for number, cache in enumerate(CACHES):
        for name, make in POLICIES.items():
            folder = tmp_path / f"{number}-{name}"
            policy = name if name in ("auto", "bandit") else make()
            options = FREE if name == "restless" else SYNC
            losses, loader = train(
                graph, folder, cache=cache, policy=policy, policy_options=options
            )
            # Rows that travel shorter are rounded; nothing else may change what is computed.
            assert losses == expected or name == "restless"
            trace = read_trace(folder / f"trace-rank{ctx.rank:05d}.npz")
            settings = ReplaySettings(
                scorer=cache.scorer,
                capacity=loader.cache_setup.capacity,
                fill=cache.cache_fill,
                period=cache.replace_every,
                lookahead=cache.lookahead,
                alpha=cache.alpha,
                seed=4,
            )
            replayed = tmp_path / "replayed" / folder.name
            with DecisionLog(replayed / "log") as log:
                played = replay_with_policy(trace, settings, make(), log=log)
            live = read_decisions(folder / decision_log_name(ctx.rank))
            assert live == read_decisions(replayed / "log")
            assert len(live) >= trace.num_minibatches // 8 - 1
            summary = loader.policy.statistics.summary()
            for words in ("decisions", "replacements", "pass_at_1", "volume_agreement"):
                assert summary[words] == played.statistics.summary()[words]
            assert played.result.rows_hit.tolist() == trace.columns["num_hits"].tolist()
            num_fill = trace.columns["num_fill"].copy()
            num_fill[0] -= loader.cache_setup.rows.rows_filled_at_start
            assert played.result.rows_filled.tolist() == num_fill.tolist()
            states = [line["observation"]["state"] for line in live]
            chosen = {(state["exchange_every"], state["wire_dtype"]) for state in states}
            own = (cache.exchange_every, "stored")
            assert chosen == {own} or name == "restless"
            wire_dtypes |= {wire_dtype for _, wire_dtype in chosen}
            assert max(exchange for exchange, _ in chosen) <= 4
            stalls = [line["observation"]["window"]["elapsed_s"] for line in live]
            assert stalls[-1] > 0
    assert len(wire_dtypes) > 1
