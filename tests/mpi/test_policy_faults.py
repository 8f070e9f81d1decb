"""Whatever a policy does or lacks, training ends as it would have, and the counters say why."""

import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from small_graphs import power_law

import gnnflow
from gnnflow.config import CacheConfig, PolicyConfig
from gnnflow.loader import DistNeighborLoader
from gnnflow.models import make_model
from gnnflow.policies import Decision
from gnnflow.training import wrap
from gnnflow.training.records.step_metrics import EpochRecorder
from gnnflow.training.tasks import task_of
from gnnflow.training.trainer import Trainer, attach_layers

sys.path.append(str(Path(__file__).parents[1] / "policies"))

pytestmark = pytest.mark.mpi(2)

FANOUT = (3, 2)
DECAY = CacheConfig(scorer="decay", alpha=0.2, period=5)
SYNC = PolicyConfig(policy_mode="sync", policy_timeout=20.0)


class Raising:
    name = "raising"

    def decide(self, observation):
        if observation.minibatch % 2:
            raise RuntimeError("not in the mood")
        return Decision(replace=True)


class Leaving:
    name = "leaving"

    def decide(self, observation):
        sys.exit("enough")


class Slow:
    name = "slow"

    def __init__(self):
        self.go_on = threading.Event()

    def decide(self, observation):
        self.go_on.wait(60)
        return Decision(replace=True)

    def close(self):
        self.go_on.set()


class Babbling:
    name = "babbling"

    def decide(self, observation):
        return "yes, please"


class Stateless:
    """Fails in everything but deciding."""

    name = "stateless"

    def decide(self, observation):
        return Decision(replace=True)

    def feedback(self, observation, decision, outcome):
        raise ValueError("I do not listen")

    def state(self):
        raise ValueError("I forgot")

    def close(self):
        raise ValueError("never")


def train(ctx, parts, policy="static", options=None, run_dir=None, on_step=None):
    """Trains two epochs; returns the losses and what the policy's statistics say."""
    import torch

    graph = gnnflow.DistGraph.open(parts(power_law(), ctx.num_ranks, method="random"), ctx)
    torch.manual_seed(0)
    wrapped = wrap(make_model("sage", [7, 8, 5]), ctx)
    loader = DistNeighborLoader(
        graph,
        "train",
        FANOUT,
        batch_size=16,
        num_epochs=2,
        seed=4,
        transform=attach_layers,
        cache=DECAY,
        policy=policy,
        policy_options=options,
        run_dir=run_dir,
    )
    recorder = EpochRecorder(ctx)
    optimizer = torch.optim.Adam(wrapped.parameters(), lr=0.01)
    trainer = Trainer(wrapped, loader, optimizer, task_of(graph.manifest), recorder)
    losses, num_fill = [], 0
    for epoch in range(2):
        metrics = trainer.train_epoch(epoch, on_step)
        losses += recorder.job_losses
        num_fill += metrics.fill_rows
    loader.finish()
    assert not [thread for thread in threading.enumerate() if thread.name == "gnnflow-policy"]
    return losses, num_fill, loader.policy.statistics.summary()


@pytest.fixture
def undisturbed(ctx, parts):
    """Losses and replaced rows under the schedule alone."""
    losses, num_fill, _ = train(ctx, parts)
    return losses, num_fill


@pytest.mark.parametrize("transport", ["alltoall"])
def test_policies_that_misbehave(ctx, parts, transport, undisturbed, caplog):
    losses, num_fill = undisturbed
    raising = train(ctx, parts, Raising(), SYNC)
    assert raising[0] == losses
    num_failed = raising[2]["decisions"] // 2
    assert raising[2]["failed_share"] == num_failed / raising[2]["decisions"]
    assert raising[2]["errors"] == {"RuntimeError: not in the mood": num_failed}
    assert raising[2]["replacements"] == raising[2]["decisions"] - num_failed
    ours = [line for line in caplog.messages if "not in the mood" in line]
    assert len(ours) == 1 and ours[0].endswith("training goes on as before")
    for policy, error in (
        (Leaving(), "SystemExit: enough"),
        (Babbling(), "InvalidDecisionError: a policy must return a Decision, got a str"),
    ):
        outcome = train(ctx, parts, policy, SYNC)
        # The schedule goes on: not only the losses are the same, but what was moved.
        assert outcome[:2] == (losses, num_fill)
        assert outcome[2]["failed_share"] == 1.0
        assert list(outcome[2]["errors"]) == [error]
    outcome = train(ctx, parts, Stateless(), SYNC)
    assert (outcome[0], outcome[2]["valid_share"]) == (losses, 1.0)


@pytest.mark.parametrize("transport", ["alltoall"])
def test_policies_that_are_slow(ctx, parts, transport, undisturbed):
    losses, num_fill = undisturbed
    hasty = PolicyConfig(policy_mode="sync", policy_timeout=0.05)
    outcome = train(ctx, parts, Slow(), hasty)
    assert outcome[:2] == (losses, num_fill)
    # Asked once, given up, never asked again as long as it is busy.
    assert (outcome[2]["decisions"], outcome[2]["timeout_share"]) == (1, 1.0)
    assert outcome[2]["busy_share"] > 0.9
    outcome = train(ctx, parts, Slow(), PolicyConfig(policy_timeout=600.0))
    assert outcome[:2] == (losses, num_fill)
    assert outcome[2]["decisions"] == 0


@pytest.mark.parametrize("transport", ["alltoall"])
def test_what_a_policy_needs_is_missing(ctx, parts, transport, undisturbed, tmp_path, monkeypatch):
    losses, num_fill = undisturbed
    (tmp_path / "broken.gguf").write_bytes(b"GGUF but not quite")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "classifier.json").write_text("{")
    monkeypatch.setenv("GNNFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    for options, error in (
        ({"policy": "llm", "llm_model": str(tmp_path / "broken.gguf")}, "cannot convert"),
        ({"policy": "llm", "llm_template": tmp_path / "none.jinja"}, "cannot read the prompt"),
        ({"policy": "llm"}, "run gnnflow-policy get-model"),
        ({"policy": "classifier", "classifier": str(tmp_path / "broken")}, "broken"),
        ({"policy": "classifier"}, 'pip install "gnnflow['),
    ):
        config = PolicyConfig(policy_mode="sync", **options)
        outcome = train(ctx, parts, config, run_dir=tmp_path / f"run{ctx.rank}")
        assert outcome[:2] == (losses, num_fill), options
        assert outcome[2]["failed_share"] == 1.0
        (said,) = outcome[2]["errors"]
        assert error in said, said


@pytest.mark.parametrize("transport", ["alltoall"])
def test_servers_that_misbehave(ctx, parts, transport, undisturbed):
    from chat_server import ANSWER, Script, completion

    losses, num_fill = undisturbed
    script = Script()
    try:
        named = {"policy": "llm", "llm_url": script.url, "llm_model": "some-model"}
        config = PolicyConfig(**named, policy_mode="sync")
        for replies, error in (
            ([completion("maybe")], "the answer is not JSON"),
            ([completion(json.dumps({"replace": "perhaps"}))], "InvalidDecisionError"),
            ([completion("<think>" + json.dumps(ANSWER))], "the answer is not JSON"),
            ([(200, b"<html>")], "sent no chat completion"),
            ([(403, b"no")], "HTTP 403"),
        ):
            script.replies = replies
            outcome = train(ctx, parts, config)
            assert outcome[:2] == (losses, num_fill)
            assert outcome[2]["failed_share"] == 1.0
            assert all(error in said for said in outcome[2]["errors"]), outcome[2]["errors"]
        # Broken servers are asked again after a while; only a few questions fit into this run.
        script.replies = [(500, b"broken")]
        outcome = train(ctx, parts, PolicyConfig(**named))
        assert outcome[0] == losses
        assert outcome[2]["valid_share"] in (None, 0.0)
        script.replies = [completion(json.dumps(ANSWER))]
        outcome = train(ctx, parts, config)
        assert (outcome[0], outcome[2]["valid_share"]) == (losses, 1.0)
        assert outcome[2]["replacements"] > 10 and outcome[2]["volume_agreement"] is not None
    finally:
        script.close()


@pytest.mark.parametrize("transport", ["alltoall"])
def test_the_model_server_is_killed(ctx, parts, transport, undisturbed, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    from tiny_model import save_tiny

    losses, _ = undisturbed
    # One folder for both ranks, as the ranks of a machine share files.
    folder = Path(ctx.broadcast_json(str(tmp_path)))
    monkeypatch.setenv("GNNFLOW_CACHE", str(folder / "cache"))
    if ctx.rank == 0:
        save_tiny(folder / "tiny")
    ctx.barrier()
    config = PolicyConfig(
        policy="llm", llm_model=str(folder / "tiny"), policy_mode="sync", policy_timeout=60.0
    )
    steps = []

    def kill(metrics):
        steps.append(metrics)
        if len(steps) == 8 and ctx.rank == 0:
            (server,) = model_servers()
            os.kill(server, signal.SIGKILL)

    outcome = train(ctx, parts, config, run_dir=folder, on_step=kill)
    assert outcome[0] == losses
    assert 0 < outcome[2]["valid_share"] < 1 and outcome[2]["failed_share"] > 0
    assert all("language model server" in said for said in outcome[2]["errors"])
    ctx.barrier()
    if ctx.rank == 0:
        assert not model_servers()


def model_servers():
    """Processes of model servers that this process started and that have not ended."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            words = (process / "cmdline").read_bytes().split(b"\0")
            if parent == os.getpid() and b"gnnflow.policies.llm.host_server.model_server" in words:
                found.append(int(process.name))
    return found
