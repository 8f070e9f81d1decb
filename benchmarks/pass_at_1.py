"""How often classifiers and language models of several sizes take the better choice.

    python -m benchmarks.pass_at_1 SITUATIONS.jsonl ... [--models MODEL ...] [--json FILE]
                                   [--lessons SITUATIONS.jsonl ...]

Situations are what `gnnflow-policy collect` found by replaying traces both ways; take graphs that
nothing was trained on. All are asked about the same ones, drawn at random from each file. Beside
the classifiers and the language models that come with gnnflow, `--models` names any others, as
`gnnflow-train --llm-model` does: folders, `.gguf` files, names on the hub. They see the prompt with
rules and worked examples, calibrated on the reference situations that come with gnnflow.

Below the policies stand the answers that need none: always no, always yes, and a threshold on one
number, the one that is right most often on the situations of `--lessons` (by default the one found
on what the classifiers have learnt from that come with gnnflow). The last column says on how many
graphs a policy is right more often than each of these three.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks._harness import parser_of, write_json
from benchmarks.policies import language_policy
from gnnflow.errors import DataError, GnnflowError
from gnnflow.policies import ReplacementPolicy
from gnnflow.policies.auto import AutoPolicy
from gnnflow.policies.classifier.classifier_folder import load_classifier, shipped_classifiers
from gnnflow.policies.classifier.classifier_policy import ClassifierPolicy
from gnnflow.policies.classifier.fitting import measure, tabulate
from gnnflow.policies.labelled_situations import Situation, read_situations, stake
from gnnflow.policies.llm.model.model_files import SMALL_MODEL, TUNED_MODEL
from gnnflow.policies.rivals import LEARNT, RIVALS, Threshold, fit_threshold, rival_scores
from gnnflow.terminal import PlainConsole, Table, plain

Record = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Figures by policy and graph."""


def draw(path: Path, num: int, seed: int) -> list[Situation]:
    """Some situations of a file in which there is something to decide."""
    situations = [
        item for item in read_situations(path) if not item.observation.facts.free_admission
    ]
    if not situations:
        raise DataError(f"{path} holds no situation in which there is something to decide")
    chosen = np.random.default_rng(seed).permutation(len(situations))[:num]
    return [situations[place] for place in sorted(chosen)]


def judge(
    policy: ReplacementPolicy, situations: Sequence[Situation], threshold: Threshold = LEARNT
) -> dict[str, float]:
    """Asks a policy about each situation by itself, as in a run; its rivals are in the figures."""
    choices, seconds = [], []
    for item in situations:
        began = time.perf_counter()
        decision = policy.decide(item.observation)
        seconds.append(time.perf_counter() - began)
        # `auto` gives no probability.
        certain = float(decision.replace)
        choices.append(certain if decision.probability is None else decision.probability)
    labels = np.array([item.replace for item in situations])
    found = measure(np.array(choices), labels, np.array([stake(item) for item in situations]))
    return {
        "situations": float(len(situations)),
        "pass_at_1": found["accuracy"],
        "auc": found["auc"],
        **rival_scores(threshold, tabulate(situations).features, labels),
        "latency_median_s": median(seconds),
    }


def policies(models: Sequence[str], console: PlainConsole) -> dict[str, ReplacementPolicy]:
    """Everything that can be asked; what cannot is said."""
    found: dict[str, ReplacementPolicy] = {"auto": AutoPolicy()}
    for kind in shipped_classifiers():
        try:
            found[f"classifier {kind}"] = ClassifierPolicy(load_classifier(kind)[1])
        except GnnflowError as error:
            console.print(f"classifier {kind}: {error}", soft_wrap=True)
    for name in (TUNED_MODEL, SMALL_MODEL, *models):
        with console.status(plain(f"loading and calibrating {name}")):
            try:
                found[Path(name).stem if Path(name).exists() else name] = language_policy(name)()
            except GnnflowError as error:
                console.print(f"{name}: {error}", soft_wrap=True)
    return found


def table_of(record: Record, threshold: Threshold) -> Table:
    """The figures in a table, rivals below the policies."""
    table = Table(title="choices that were the better one (Pass@1)", title_justify="left")
    table.add_column("decides")
    graphs = list(next(iter(record.values()), {}))
    for name in graphs:
        table.add_column(name, justify="right")
    for heading in ("AUC", "latency", "beats all three"):
        table.add_column(heading, justify="right")
    for name, mine in record.items():
        beats = sum(
            all(found["pass_at_1"] > found[rival] for rival in RIVALS) for found in mine.values()
        )
        table.add_row(
            name,
            *(f"{found['pass_at_1']:.2f}" for found in mine.values()),
            ", ".join(f"{found['auc']:.2f}" for found in mine.values()),
            f"{median(found['latency_median_s'] for found in mine.values()):.3f} s",
            f"{beats} of {len(mine)}",
        )
    table.add_section()
    # All policies were asked about the same situations, so their rivals are the same, too.
    asked = next(iter(record.values()), {})
    for rival, words in RIVALS.items():
        is_threshold = rival == "pass_at_1_threshold"
        table.add_row(
            f"{words}: {threshold}" if is_threshold else words,
            *(f"{found[rival]:.2f}" for found in asked.values()),
        )
    return table


def main() -> None:
    """Entry point."""
    parser = parser_of("benchmarks.pass_at_1", __doc__)
    parser.add_argument("files", type=Path, nargs="+", help="situations, one file for each graph")
    parser.add_argument("--lessons", type=Path, nargs="*", help="what the threshold learns from")
    parser.add_argument("--models", nargs="*", default=[], help="further language models")
    parser.add_argument("--situations", type=int, default=100, help="of each file")
    parser.add_argument("--threads", type=int, default=2, help="to compute with")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--json", type=Path, help="where the figures go")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    console = PlainConsole()
    try:
        drawn = {
            path.stem: draw(path, arguments.situations, arguments.seed) for path in arguments.files
        }
    except GnnflowError as error:
        sys.exit(f"benchmarks.pass_at_1: {error}")
    threshold = LEARNT
    if arguments.lessons:
        lessons = tabulate([each for path in arguments.lessons for each in read_situations(path)])
        threshold = fit_threshold(lessons.features, lessons.labels)
    record: dict[str, dict[str, dict[str, float]]] = {}
    for name, policy in policies(arguments.models, console).items():
        with console.status(plain(f"asking {name}")):
            record[name] = {
                graph: judge(policy, situations, threshold) for graph, situations in drawn.items()
            }
    console.print(table_of(record, threshold))
    write_json(arguments.json, record, indent=1)


if __name__ == "__main__":
    main()
