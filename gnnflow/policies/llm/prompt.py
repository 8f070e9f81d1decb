"""The prompt: a template that users can edit, filled with the numbers of an observation.

Templates that others wrote can loop for longer than any run, so rendering has a limit of time.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import FrameType
from typing import Any, Self

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from gnnflow.errors import ConfigError
from gnnflow.files.regular_file import read_regular_text
from gnnflow.policies.labelled_situations import Situation
from gnnflow.policies.llm.answers import render_answer
from gnnflow.policies.observation import Observation
from gnnflow.policies.observation_features import expected_return, feature_values

_BLOCKS = ("instructions", "question")
_MAX_SHOWN = 999.0
_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template whose blocks become messages."""

    template: jinja2.Template
    explain: bool

    @classmethod
    def load(cls, path: Path | None, *, explain: bool) -> Self:
        """Reads a template file, or gnnflow's own.

        Args:
            path: the file; None for gnnflow's own.
            explain: whether answers are JSON with an explanation, or one word.

        Raises:
            ConfigError: if the file cannot be read, is no template or lacks a block.
        """
        name = str(path) if path is not None else "the built-in prompt"
        try:
            if path is None:
                file = resources.files("gnnflow.policies.llm") / "prompt.jinja"
                text = file.read_text(encoding="utf-8")
            else:
                text = read_regular_text(path)
            template = _environment().from_string(text)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the prompt template {name}: {error}") from None
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(
                f"{name}, line {error.lineno}, is not a template: {error.message}"
            ) from None
        for block in _BLOCKS:
            if block not in template.blocks:
                raise ConfigError(f"the prompt template {name} lacks the block '{block}'")
        return cls(template, explain)

    def messages(self, examples: list[Situation]) -> list[dict[str, str]]:
        """What goes before every question: the task, the rules, worked examples."""
        messages = [{"role": "system", "content": self._render("instructions", {})}]
        for example in examples:
            messages.append({"role": "user", "content": self.question(example.observation)})
            answer = render_answer(example, explain=self.explain)
            messages.append({"role": "assistant", "content": answer})
        return messages

    def question(self, observation: Observation) -> str:
        """The question about an observation, about a hundred tokens.

        Raises:
            ConfigError: if the template names something that does not exist.
        """
        values: dict[str, Any] = dict(feature_values(observation))
        values |= {"observation": observation, "expected_return": expected_return(observation)}
        return self._render("question", values)

    def _render(self, block: str, values: dict[str, Any]) -> str:
        try:
            with time_limit(_LIMIT_S, "it"):
                context = self.template.new_context({"explain": self.explain} | values)
                return "".join(self.template.blocks[block](context)).strip()
        # What an expression in a template may end in, besides jinja2's own errors.
        except (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError,
                ValueError, RecursionError, MemoryError, TimeoutError) as error:  # fmt: skip
            raise ConfigError(
                f"block '{block}' of the prompt template cannot be filled: {error}"
            ) from None


def _environment() -> jinja2.Environment:
    # Templates come from users, and users share them: no access to Python from inside.
    environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters["percent"] = lambda value: f"{_shown(100 * value):.0f}%"
    environment.filters["change"] = lambda value: f"{_shown(100 * value):+.1f}%"
    # Whole numbers: small models read each digit by itself, and points confuse them.
    environment.filters["whole"] = lambda value: str(round(_shown(100 * value)))
    environment.filters["tenths"] = lambda value: str(round(_shown(10 * value)))
    environment.filters["times"] = lambda value: f"{_shown(value):.2f}"
    return environment


def _shown(value: float) -> float:
    return max(-_MAX_SHOWN, min(value, _MAX_SHOWN))


@contextmanager
def time_limit(limit_s: float, what: str) -> Iterator[None]:
    """Ends Python code of this thread that takes too long; a single call into C is not ended.

    Args:
        limit_s: seconds.
        what: what takes so long, as the start of a sentence.

    Raises:
        TimeoutError: if it takes longer.
    """
    deadline = time.monotonic() + limit_s

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} takes longer than {limit_s:g} s")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
