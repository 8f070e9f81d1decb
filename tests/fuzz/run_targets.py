"""What runs leave behind and read again: checkpoints, traces, records."""

import dataclasses
import hashlib
import io
import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from choices import Choices, changed_bytes, changed_json, changed_lines, changed_npy
from partition_targets import small_graph
from target import Target

import gnnflow
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.config import PartitionConfig
from gnnflow.loader import DistNeighborLoader
from gnnflow.models import make_model
from gnnflow.partition import partition_graph
from gnnflow.replay import TraceFacts, TraceRecorder
from gnnflow.replay.optimum import Optimum
from gnnflow.replay.replay import ReplaySettings, replay_trace
from gnnflow.replay.trace import read_trace, trace_file
from gnnflow.report import write_report
from gnnflow.report.description import describe
from gnnflow.training import (
    TrainingState,
    load_checkpoint,
    load_model_from_checkpoint,
    save_checkpoint,
)
from gnnflow.training.checkpoints.checkpoint_files import FACTS_FILE, Position

sys.path.append(str(Path(__file__).parents[1] / "report"))
from made_run import make_parts, make_run  # noqa: E402


class CheckpointTarget(Target):
    """A checkpoint whose facts, states or tensors were changed, with hashes that fit or do not."""

    name = "checkpoints"
    modules = (
        *("gnnflow.training.checkpoints.checkpoint_files", "gnnflow.training.checkpoints.saving"),
        *("gnnflow.training.checkpoints.compatibility", "gnnflow.training.checkpoints.state_tree"),
        "gnnflow.report.description",
    )
    words = ('"files"', '"sha256"', '"position"', '"$"', '"tensor"', '"../x.json"')

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._context = gnnflow.init()
        partition_graph(small_graph(), folder / "parts", PartitionConfig(num_parts=1))
        self._graph = gnnflow.DistGraph.open(folder / "parts", self._context)
        self._whole, self._damaged = folder / "whole", folder / "damaged"
        state = self._state()
        self._step(state)
        save_checkpoint(self._whole, state, Position(epoch=1, step=1, num_updates=3), score=0.5)
        shutil.copytree(self._whole, self._damaged)
        self._names = sorted(path.name for path in self._whole.iterdir())

    def close(self) -> None:
        self._context.close()

    def seeds(self) -> list[bytes]:
        return [
            bytes([file, flag, how, 5, 2, how, 1, 3])
            for file in range(len(self._names))
            for flag in range(2)
            for how in range(4)
        ]

    def _state(self) -> TrainingState:
        torch.manual_seed(0)
        model = make_model("sage", (3, 4, 3))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        return TrainingState(
            graph=self._graph,
            model=model,
            loader=DistNeighborLoader(self._graph, fanout=[2, 2], batch_size=5, seed=7),
            shared={
                "optimizer": optimizer,
                "schedule": torch.optim.lr_scheduler.StepLR(optimizer, 2),
            },
        )

    def _step(self, state: TrainingState) -> None:
        """Uses what was loaded: a state that does not fit would fail here, without its name."""
        out = state.model(torch.zeros(2, 3), torch.tensor([[0], [1]]))
        out.sum().backward()
        state.shared["optimizer"].step()  # type: ignore[attr-defined]
        state.shared["schedule"].step()  # type: ignore[attr-defined]

    def run(self, data: bytes) -> None:
        choices = Choices(data)
        name = choices.pick(self._names)
        content = (self._whole / name).read_bytes()
        forged = choices.flag()
        is_json = name.endswith(".json")
        wrong = (
            changed_json(choices, content.decode()) if is_json else changed_bytes(choices, content)
        )
        facts = (self._whole / FACTS_FILE).read_bytes()
        (self._damaged / FACTS_FILE).write_bytes(facts)
        if name != FACTS_FILE and forged:
            told = json.loads(facts)
            entry = {"size_bytes": len(wrong), "sha256": hashlib.sha256(wrong).hexdigest()}
            told["files"][name] = entry
            (self._damaged / FACTS_FILE).write_text(json.dumps(told))
        (self._damaged / name).write_bytes(wrong)
        generator = torch.get_rng_state()
        try:
            describe(self._damaged)
            load_model_from_checkpoint(self._damaged)
            state = self._state()
            load_checkpoint(self._damaged, state)
            self._step(state)
        finally:
            torch.set_rng_state(generator)
            (self._damaged / name).write_bytes(content)


class TraceTarget(Target):
    """`trace-rank*.npz`, then replayed."""

    name = "traces"
    modules = ("gnnflow.replay.trace", "gnnflow.replay.optimum")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        draw = np.random.default_rng(2)
        ids = np.arange(0, 60, 3)
        facts = TraceFacts(graph="toy", rank=0, num_ranks=1, row_bytes=8, fanout=(3, 2))
        facts = dataclasses.replace(facts, settings={"capacity": 5, "scorer": "lru"})
        vip = VertexValues(ids, draw.random(len(ids)).astype(np.float32))
        recorder = TraceRecorder(facts, ids[:15], draw.integers(0, 9, 15), vip)
        for number in range(8):
            recorder.add(draw.permutation(ids)[:6].astype(np.int64), epoch=number // 4, num_seeds=4)
        with zipfile.ZipFile(recorder.save(folder)) as archive:
            self._members = {name: archive.read(name) for name in archive.namelist()}
        self._file = trace_file(folder, 0)

    def seeds(self) -> list[bytes]:
        return [
            bytes([member, how, 1, 2, 3, 4, 5])
            for member in range(len(self._members))
            for how in range(5)
        ]

    def run(self, data: bytes) -> None:
        choices = Choices(data)
        members = dict(self._members)
        name = choices.pick(sorted(members))
        if name == "facts.npy" and choices.below(4):
            text = np.load(io.BytesIO(members[name])).tobytes().decode()
            stream = io.BytesIO()
            np.save(stream, np.frombuffer(changed_json(choices, text), np.uint8))
            members[name] = stream.getvalue()
        elif choices.below(8) == 7:
            del members[name]
        else:
            members[name] = changed_npy(choices, members[name])
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", choices.pick((0, 8))) as archive:
            for name, member in members.items():
                archive.writestr(name, member)
        content = stream.getvalue()
        content = changed_bytes(choices, content) if choices.below(4) == 3 else content
        self._file.unlink(missing_ok=True)
        self._file.write_bytes(content)
        describe(self.folder)
        trace = read_trace(self._file)
        Optimum.of_traces([trace])
        replay_trace(trace, ReplaySettings(capacity=5, fill="vip"))


class RunTarget(Target):
    """The folder of a run, for `gnnflow-info` and `gnnflow-report`."""

    name = "run-folders"
    modules = ("gnnflow.report.run_record", "gnnflow.report.decisions", "gnnflow.report.figures",
               "gnnflow.report.description", "gnnflow.replay.optimum",
               "gnnflow.report.run_record")  # fmt: skip

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        parts = make_parts(folder / "parts")
        self._run = make_run(folder / "run", parts)
        self._files = {
            path.name: path.read_text()
            for path in sorted(self._run.iterdir())
            if path.suffix in (".json", ".jsonl")
        }

    def seeds(self) -> list[bytes]:
        return [
            bytes([file, how, how, 5, key, key, 1, 3])
            for file in range(len(self._files))
            for how in range(4)
            for key in range(6)
        ]

    def run(self, data: bytes) -> None:
        choices = Choices(data)
        name = choices.pick(list(self._files))
        change: Any = changed_lines if name.endswith("l") else changed_json
        (self._run / name).write_bytes(change(choices, self._files[name]))
        try:
            describe(self._run)
            write_report(self._run, self.folder / "report.html")
        finally:
            (self._run / name).write_text(self._files[name])


TARGETS: tuple[type[Target], ...] = (CheckpointTarget, TraceTarget, RunTarget)
