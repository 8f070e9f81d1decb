"""What people read in a terminal: text as it is, whatever it holds.

Names of graphs, paths, answers of language models and reasons of servers come from outside. To
rich, text in brackets is markup and `:smile:` a picture, and to a terminal an escape character
starts a command; here all of it is text. Nothing else in gnnflow imports rich.
"""

import threading
import time
from types import TracebackType
from typing import IO, Self

from rich.console import Console, JustifyMethod, OverflowMethod
from rich.highlighter import Highlighter
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.style import Style
from rich.table import Table
from rich.text import Text

from gnnflow.errors import printable

__all__ = [
    "BarColumn",
    "PlainColumn",
    "PlainConsole",
    "Progress",
    "SlowWork",
    "SpinnerColumn",
    "Table",
    "TaskID",
    "Text",
    "TimeElapsedColumn",
    "TimeRemainingColumn",
    "plain",
    "progress",
    "say",
]


class PlainConsole(Console):
    """A console to which all strings are plain text, those in tables and titles too."""

    def __init__(
        self, *, stderr: bool = False, file: IO[str] | None = None, width: int | None = None
    ) -> None:
        """Takes where to write; stdout by default."""
        super().__init__(stderr=stderr, file=file, width=width, markup=False, emoji=False)

    def render_str(
        self,
        text: str,
        *,
        style: str | Style = "",
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        emoji: bool | None = None,
        markup: bool | None = None,
        highlight: bool | None = None,
        highlighter: Highlighter | None = None,  # type: ignore[override]
    ) -> Text:
        """Returns text to show for a string, without markup whatever is asked for."""
        return super().render_str(
            printable(text),
            style=style,
            justify=justify,
            overflow=overflow,
            emoji=False,
            markup=False,
            highlight=highlight,
            highlighter=highlighter,
        )


class PlainColumn(TextColumn):
    """A column of a progress bar whose text is plain."""

    def __init__(self, text_format: str) -> None:
        """Takes the column's text, with fields of `task` in braces."""
        super().__init__(text_format, markup=False)

    def render(self, task: Task) -> Text:
        """Returns the text of a task."""
        return plain(self.text_format.format(task=task))


def progress(console: PlainConsole) -> Progress:
    """Returns a bar with what is done and the time to go."""
    columns = (PlainColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def plain(text: str, style: str = "") -> Text:
    """Text to show as it is, where rich would read a string as markup."""
    return Text(printable(text), style=style)


def say(text: object, *, stderr: bool = False) -> None:
    """Prints a line as it is: neither coloured nor wrapped."""
    PlainConsole(stderr=stderr).print(str(text), highlight=False, soft_wrap=True)


class SlowWork:
    """Says what takes long: after some seconds, then ever more rarely, and at its end.

    What is done sooner goes without a word. Lines look the same in a terminal and in a log.
    """

    def __init__(self, what: str, *, show: bool = True, after_s: float = 5.0) -> None:
        """Takes what to say.

        Args:
            what: the work, as "computing the scores".
            show: whether to say anything: only one rank should.
            after_s: seconds after which the first line comes.
        """
        self._what = what
        self._show = show
        self._after_s = after_s
        self._share: float | None = None
        self._done = threading.Event()
        self._said = False
        self._start_s = 0.0
        self._thread: threading.Thread | None = None

    def tell(self, share: float) -> None:
        """Tells which share of the work is done, 0 to 1."""
        self._share = share

    def __enter__(self) -> Self:
        """Begins to wait."""
        self._start_s = time.perf_counter()
        if self._show:
            self._thread = threading.Thread(target=self._watch, name="slow work", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Says that it is over, if it was said that it goes on."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        if self._said and error is None:
            say(f"{self._what}: done in {self._elapsed_s():.0f} s")

    def _elapsed_s(self) -> float:
        return time.perf_counter() - self._start_s

    def _watch(self) -> None:
        wait_s = self._after_s
        while not self._done.wait(wait_s):
            share = "" if self._share is None else f", {self._share:.0%}"
            say(f"{self._what}: {self._elapsed_s():.0f} s so far{share}")
            self._said = True
            wait_s *= 2
