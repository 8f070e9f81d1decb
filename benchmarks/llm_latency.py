"""Seconds of one decision of the language model policy, against generating its JSON answer.

    python -m benchmarks.llm_latency [--quick] [--json FILE] [--threads 2]

Ours: the prompt's unchanging start is kept encoded, the question is encoded, and the
log-probabilities of yes and no are compared. Theirs: `generate` of transformers with the same
model, on the whole prompt that asks for JSON, greedily, for as many tokens as such an answer has.
The second row gives `generate` the encoded start too, which leaves the cost of writing the answer.

The model is the one that `gnnflow-policy get-model` brings.

Rows `llm_latency/training/MODEL`, with the adapter that comes with gnnflow, are seconds of a
training step on four ranks that ask one server (`theirs` is the same run with `static`): the median
over all steps from the first answer on, with the policy asked asynchronously, as it is by default.
On two cores the server has only what four ranks leave.
"""

import copy
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks import _commands as commands
from benchmarks._harness import Options, Report, Row, run_benchmark, take_turns, time_of
from gnnflow.errors import GnnflowError
from gnnflow.policies.labelled_situations import shipped_situations
from gnnflow.policies.llm.answers import render_answer
from gnnflow.policies.llm.judge import DecisionTask, Judge
from gnnflow.policies.llm.model.language_model import LanguageModel
from gnnflow.policies.llm.model.model_files import SMALL_MODEL, TUNED_MODEL
from gnnflow.policies.llm.prompt import Prompt


def generate_json(model: LanguageModel, *, keep_start: bool) -> tuple[Callable[[], object], int]:
    """Returns what writes an explained answer by `generate`, and the tokens it writes."""
    prompt = Prompt.load(None, explain=True)
    examples = shipped_situations("examples")
    situation = shipped_situations("reference")[0]
    prefix = model.encode_prefix(prompt.messages(examples))
    question = prompt.question(situation.observation) + prefix.tail
    token_ids = torch.tensor([prefix.token_ids + model.tokens(question)])
    num_tokens = len(model.tokens(render_answer(situation, explain=True)))

    def generate() -> object:
        kept = {"past_key_values": copy.deepcopy(prefix.cache)} if keep_start else {}
        return model.model.generate(
            token_ids,
            attention_mask=torch.ones_like(token_ids),
            do_sample=False,
            min_new_tokens=num_tokens,
            max_new_tokens=num_tokens,
            **kept,
        )

    return generate, num_tokens


def decide(model: LanguageModel) -> Callable[[], object]:
    """Returns what takes a decision."""
    prompt = Prompt.load(None, explain=False)
    task = DecisionTask(messages=prompt.messages(shipped_situations("examples")), explain=False)
    judge = Judge(model, identity="")
    judge.prepare(task)
    observation = shipped_situations("reference")[0].observation
    return lambda: judge.ask(task, prompt.question(observation))


def compare(options: Options, report: Report) -> None:
    """Adds the rows."""
    torch.set_num_threads(options.threads)
    model = LanguageModel.load(SMALL_MODEL)
    ours = decide(model)
    whole, num_tokens = generate_json(model, keep_start=False)
    kept, _ = generate_json(model, keep_start=True)
    times = take_turns(
        {
            "ours": lambda: time_of(ours),
            "whole": lambda: time_of(whole),
            "kept": lambda: time_of(kept),
        },
        rounds=1 if options.quick else 10,
        limit_s=20 if options.quick else 300,
    )
    for name, against in (
        ("whole", "generate of the JSON"),
        ("kept", "generate, start of the prompt kept"),
    ):
        report.add(
            Row(
                name=f"llm_latency/{SMALL_MODEL}",
                ours=times["ours"],
                theirs=times[name],
                unit="s",
                against=against,
                facts={"tokens_generated": str(num_tokens)},
            )
        )


RANKS = 4
EPOCHS, QUICK_EPOCHS = 32, 20
STEP_PARTS = ("wait_s", "compute_s", "all_reduce_s")


def train(
    parts: Path, epochs: int, words: Sequence[str], out: Path
) -> tuple[list[float], list[int]]:
    """Trains on four ranks.

    Returns:
        Seconds of each step as the slowest rank saw it, and what `valid_decisions` says of the run.

    Raises:
        CommandError: If the training fails.
    """
    options = {"ranks": RANKS, "transport": "alltoall", "epochs": epochs, "eval-every": 0}
    commands.train(parts, out, options | {"scorer": "decay"}, *words)
    slowest_s: dict[tuple[int, int], float] = {}
    for step in commands.steps_of(out):
        key = step["epoch"], step["step"]
        slowest_s[key] = max(slowest_s.get(key, 0.0), sum(step[part] for part in STEP_PARTS))
    return [slowest_s[key] for key in sorted(slowest_s)], valid_decisions(out)


def valid_decisions(run: Path) -> list[int]:
    """Returns the minibatches that valid decisions of a run's ranks were asked at, ascending."""
    lines = [
        json.loads(line)
        for log in run.glob("decisions-rank*.jsonl")
        for line in log.read_text().splitlines()
    ]
    return sorted(line["observation"]["minibatch"] for line in lines if line["status"] == "valid")


def compare_training(options: Options, report: Report) -> None:
    """Adds the row of four ranks that ask one server, turn about with the schedule."""
    epochs, rounds = (QUICK_EPOCHS, 1) if options.quick else (EPOCHS, 2)
    settings = {
        "static": ("--policy", "static"),
        "llm": ("--policy", "llm", "--llm-model", TUNED_MODEL),
    }
    step_s: dict[str, list[float]] = {name: [] for name in settings}
    with tempfile.TemporaryDirectory() as work:
        parts = Path(work) / "parts"
        commands.make_parts(parts, RANKS, "--dataset", "debian-packages")
        decisions = []
        for number in range(rounds):
            runs = {
                name: train(parts, epochs, words, Path(work) / f"{name}-{number}")
                for name, words in settings.items()
            }
            asked = runs["llm"][1]
            if not asked:
                raise GnnflowError("the language model answered no question within the run")
            for name, (seconds, _) in runs.items():
                step_s[name].append(statistics.median(seconds[asked[0] :]))
            decisions.append(len(asked))
    report.add(
        Row(
            name=f"llm_latency/training/{TUNED_MODEL}",
            ours=statistics.median(step_s["llm"]),
            theirs=statistics.median(step_s["static"]),
            unit="s/step",
            against="static",
            facts={
                "ranks": str(RANKS),
                "decisions_of_all_ranks_per_run": statistics.mean(decisions),
            },
        )
    )


def compare_all(options: Options, report: Report) -> None:
    """Adds the rows, as far as the model is there."""
    try:
        compare(options, report)
        compare_training(options, report)
    except GnnflowError as error:
        report.absent("generate and static", str(error))


if __name__ == "__main__":
    run_benchmark("benchmarks.llm_latency", __doc__, "Seconds per decision", compare_all)
