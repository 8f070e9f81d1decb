"""Seconds of one decision of the language model policy, against generating its JSON answer.

    python -m benchmarks.llm_latency [--quick] [--json FILE] [--threads 2]

Ours: the prompt's unchanging start is kept encoded, the question is encoded, and the
log-probabilities of yes and no are compared. Theirs: `generate` of transformers with the same
model, on the whole prompt that asks for JSON, greedily, for as many tokens as such an answer has.
The second row gives `generate` the encoded start too, which leaves the cost of writing the answer.

The model is the one that `gnnflow-policy get-model` brings.
"""

import copy
from collections.abc import Callable

import torch

from benchmarks._harness import Options, Report, Row, benchmark, take_turns, time_of
from gnnflow.errors import GnnflowError
from gnnflow.policies.llm.answers import render_answer
from gnnflow.policies.llm.judge import Judge, Task
from gnnflow.policies.llm.language_model import LanguageModel
from gnnflow.policies.llm.model_files import SMALL_MODEL
from gnnflow.policies.llm.prompt import Prompt
from gnnflow.policies.situations import shipped_situations


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
    task = Task(messages=prompt.messages(shipped_situations("examples")), explain=False)
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


def main() -> None:
    with benchmark("benchmarks.llm_latency", __doc__, "Seconds per decision") as (options, report):
        try:
            compare(options, report)
        except GnnflowError as error:
            report.absent("generate", str(error))


if __name__ == "__main__":
    main()
