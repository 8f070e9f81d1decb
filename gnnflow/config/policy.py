"""Options: who decides when cached rows are replaced."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gnnflow.config.option_values import (
    check_address,
    check_whole_numbers,
    require,
    require_at_least,
    require_seconds,
)

DEFAULT_MODEL = "smollm2-135m-tuned"
"""The language model of a run that names none."""

MAX_ANSWER_TOKENS = 32768
"""Tokens that one answer of a language model's server may have at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyConfig:
    """Who decides when rows of the halo cache are replaced."""

    policy: str = "static"
    """Who decides: static (the schedule of period), none (no cache), auto (a rule), bandit (learns
    in the run), classifier, llm (a language model), or a policy of an installed package."""

    policy_mode: Literal["async", "sync"] = "async"
    """Whether training goes on while the policy answers (async) or waits for it (sync)."""

    decide_every: int | None = None
    """Minibatches between two questions to the policy; by default 16 for policy llm that answers
    while training goes on, else 1 with scorer decay, and 8 with the others, where a decision holds
    until the next."""

    max_staleness: int = 16
    """Minibatches after which an answer is too old to be followed."""

    policy_timeout: float = 30.0
    """Seconds after which an answer is given up."""

    steer_wire: Literal["bfloat16", "int8"] | None = None
    """Let the policy send float32 rows shorter, as far as this type, while rows keep training
    waiting; this rounds features."""

    steer_exchange_every: int = 1
    """Let the policy join the exchanges of up to so many minibatches."""

    steer_lookahead: int = 0
    """Scorer lookahead: let the policy set the window, up to so many minibatches; 0 does not."""

    classifier: str = "rf"
    """Policy classifier: one that comes with gnnflow (lr, rf, mlp) or a folder of a fitted one."""

    online: bool = False
    """Policy classifier: keep learning from measured effects."""

    llm_model: str = DEFAULT_MODEL
    """Policy llm: a model by name, folder or GGUF file; with llm_url its name there, by default
    the only one that the server has."""

    llm_url: str | None = field(default=None, repr=False)
    """Policy llm: ask this OpenAI-compatible server (http://HOST:PORT/v1) instead; its key comes
    from GNNFLOW_LLM_KEY."""

    llm_answer_tokens: int = 1024
    """Policy llm with llm_url: tokens of an answer at first, thoughts included; a server whose
    model needs more is asked again with up to 32768."""

    llm_template: Path | None = None
    """Policy llm: file to use instead of gnnflow's prompt template."""

    llm_explain: bool = False
    """Policy llm: write out each decision with its explanation and expected effect (slower)."""

    llm_threads: int = 1
    """Policy llm: threads of the machine's model server."""

    llm_device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Policy llm: where the model runs."""

    llm_dtype: Literal["float32", "bfloat16"] = "float32"
    """Policy llm: precision of the model; answers are always compared in float32."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        check_whole_numbers(self)
        require_at_least(self, 1, "decide_every", "llm_threads", "steer_exchange_every")
        require_at_least(self, 0, "max_staleness", "steer_lookahead")
        require(
            1 <= self.llm_answer_tokens <= MAX_ANSWER_TOKENS,
            f"llm_answer_tokens must be in [1, {MAX_ANSWER_TOKENS}], got {self.llm_answer_tokens}",
        )
        if self.llm_url is not None:
            check_address("llm_url", self.llm_url)
        require_seconds("policy_timeout", self.policy_timeout)
