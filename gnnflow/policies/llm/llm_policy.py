"""The policy `llm`: an observation becomes a question, the answer's probability a decision."""

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnnflow.config import PolicyConfig
from gnnflow.policies.decision import FREE, Decision, RankInfo
from gnnflow.policies.labelled_situations import Situation, read_situations, shipped_situations
from gnnflow.policies.llm.answers import parse_answer
from gnnflow.policies.llm.chat.endpoint import Endpoint, EndpointPolicy
from gnnflow.policies.llm.host_server.server_client import connect_to_host_server
from gnnflow.policies.llm.judge import Asker, DecisionTask
from gnnflow.policies.llm.model.model_files import (
    SMALL_MODEL,
    TUNED_MODEL,
    own_prompt,
    own_reference,
)
from gnnflow.policies.llm.prompt import Prompt
from gnnflow.policies.observation import Observation
from gnnflow.policies.transfer_choice import TransferRule, with_transfer

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptParts:
    """What a model is told before any question, and what calibrates its answers."""

    prompt: Prompt
    """Turns observations into questions."""

    examples: list[Situation]
    """Situations shown in the prompt with their right answers."""

    reference: list[Situation]
    """Situations that calibrate the answers; none of the examples."""


def prompt_parts(model: str, template: Path | None = None, *, explain: bool = False) -> PromptParts:
    """Chooses the prompt of a model: the given one, the one it was tuned with, or gnnflow's own.

    Args:
        model: name or folder of the model.
        template: a user's prompt.
        explain: whether answers are JSON with an explanation, or one word.

    Raises:
        ConfigError: if the prompt cannot be read or is no template.
        DataError: if the tuned model's situations cannot be read.
    """
    tuned = own_prompt(model) if template is None and not explain else None
    if tuned is None:
        return PromptParts(
            prompt=Prompt.load(template, explain=explain),
            examples=shipped_situations("examples"),
            reference=shipped_situations("reference"),
        )
    reference = own_reference(model)
    return PromptParts(
        prompt=Prompt.load(tuned, explain=False),
        examples=[],  # it learnt from its prompt what others are shown
        reference=[] if reference is None else read_situations(reference),
    )


class LlmPolicy:
    """Asks a language model whether replacing is the better choice.

    How rows travel is chosen by the rule of `auto`: seconds alone decide that, and a language model
    would add nothing but its delay.
    """

    name = "llm"

    def __init__(
        self,
        asker: Asker,
        parts: PromptParts,
        close: Callable[[], None] | None = None,
    ) -> None:
        """Prepares the model for questions.

        Args:
            asker: the model, here or in a server.
            parts: what it is told and calibrated with.
            close: called when the policy is closed.
        """
        self._asker = asker
        self._prompt = prompt = parts.prompt
        self._close = close
        self._transfer = TransferRule()
        self._task = DecisionTask(
            messages=prompt.messages(parts.examples),
            explain=prompt.explain,
            reference_questions=[prompt.question(item.observation) for item in parts.reference],
            reference_labels=[item.replace for item in parts.reference],
        )
        self.calibration = asker.prepare(self._task)

    def decide(self, observation: Observation) -> Decision:
        """Asks; replaces if the calibrated probability is above one half."""
        return with_transfer(self._replacement(observation), self._transfer.choose(observation))

    def _replacement(self, observation: Observation) -> Decision:
        if observation.facts.free_admission:
            return Decision(replace=True, explanation=FREE)
        verdict = self._asker.ask(self._task, self._prompt.question(observation))
        if verdict.text is not None:
            answer = parse_answer(verdict.text)
            return Decision(
                replace=answer.replace,
                expected_hit_rate_change=answer.expected_hit_rate_change,
                expected_volume_change=answer.expected_volume_change,
                probability=verdict.probability,
                explanation=answer.explanation,
            )
        replace = verdict.probability > 0.5
        return Decision(
            replace=replace,
            probability=verdict.probability,
            explanation=f"{'yes' if replace else 'no'}, log-odds {verdict.log_odds:+.2f}, "
            f"probability {verdict.probability:.2f} after calibration",
        )

    def state(self) -> dict[str, Any]:
        """How rows travel; the model itself remembers nothing."""
        return {"thrift": self._transfer.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on with what a checkpoint knows."""
        if "thrift" in state:
            self._transfer.load_state(state["thrift"])

    def close(self) -> None:
        """Leaves the model."""
        if self._close is not None:
            self._close()


def make_llm(config: PolicyConfig, rank_info: RankInfo) -> LlmPolicy | EndpointPolicy:
    """Builds the policy `llm`: with the machine's model server, or with `llm_url` elsewhere."""
    if config.llm_url is not None:
        endpoint = Endpoint(
            config.llm_url,
            # The name of gnnflow's own model means nothing to a server elsewhere.
            None if config.llm_model == TUNED_MODEL else config.llm_model,
            timeout_s=config.policy_timeout,
            answer_tokens=config.llm_answer_tokens,
            # All ranks find out the same.
            log_level=logging.WARNING if rank_info.rank == 0 else logging.INFO,
        )
        prompt = Prompt.load(config.llm_template, explain=True)
        return EndpointPolicy(endpoint, prompt, shipped_situations("examples"))
    if config.llm_explain and config.llm_model == TUNED_MODEL:
        _LOGGER.info("%s answers in one word; %s explains", TUNED_MODEL, SMALL_MODEL)
        config = dataclasses.replace(config, llm_model=SMALL_MODEL)
    parts = prompt_parts(config.llm_model, config.llm_template, explain=config.llm_explain)
    client = connect_to_host_server(config, rank_info)
    try:
        return LlmPolicy(client, parts, client.close)
    except BaseException:
        client.close()
        raise
