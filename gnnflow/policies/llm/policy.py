"""The policy `llm`: an observation becomes a question, the answer's probability a decision."""

from collections.abc import Callable

from gnnflow.config import PolicyConfig
from gnnflow.policies.decision import FREE, Decision, RankInfo
from gnnflow.policies.llm.answers import parse_answer
from gnnflow.policies.llm.endpoint import Endpoint, EndpointPolicy
from gnnflow.policies.llm.judge import Asker, Task
from gnnflow.policies.llm.model_files import own_prompt
from gnnflow.policies.llm.prompt import Prompt
from gnnflow.policies.llm.server_client import connect_to_host_server
from gnnflow.policies.observation import Observation
from gnnflow.policies.situations import Situation, shipped_situations


class LlmPolicy:
    """Asks a language model whether replacing is the better choice."""

    name = "llm"

    def __init__(
        self,
        asker: Asker,
        prompt: Prompt,
        examples: list[Situation],
        reference: list[Situation],
        close: Callable[[], None] | None = None,
    ) -> None:
        """Prepares the model for questions.

        Args:
            asker: the model, here or in a server.
            prompt: turns observations into questions.
            examples: situations shown in the prompt with their right answers.
            reference: situations that calibrate the answers; none of the examples.
            close: called when the policy is closed.
        """
        self._asker = asker
        self._prompt = prompt
        self._close = close
        self._task = Task(
            messages=prompt.messages(examples),
            explain=prompt.explain,
            reference_questions=[prompt.question(item.observation) for item in reference],
            reference_labels=[item.replace for item in reference],
        )
        self.calibration = asker.prepare(self._task)

    def decide(self, observation: Observation) -> Decision:
        """Asks; replaces if the calibrated probability is above one half."""
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

    def close(self) -> None:
        """Leaves the model."""
        if self._close is not None:
            self._close()


def make_llm(config: PolicyConfig, rank_info: RankInfo) -> LlmPolicy | EndpointPolicy:
    """Builds the policy `llm`: with the machine's model server, or with `llm_url` elsewhere."""
    examples = shipped_situations("examples")
    if config.llm_url is not None:
        endpoint = Endpoint(config.llm_url, config.llm_model, timeout_s=config.policy_timeout)
        prompt = Prompt.load(config.llm_template, explain=True)
        return EndpointPolicy(endpoint, prompt, examples)
    template, reference = config.llm_template, shipped_situations("reference")
    if template is None and not config.llm_explain:
        template = own_prompt(config.llm_model)
        if template is not None:  # it learnt from its prompt what others are shown
            examples, reference = [], []
    prompt = Prompt.load(template, explain=config.llm_explain)
    client = connect_to_host_server(config, rank_info)
    try:
        return LlmPolicy(client, prompt, examples, reference, client.close)
    except BaseException:
        client.close()
        raise
