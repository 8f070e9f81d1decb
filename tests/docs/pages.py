"""The fenced blocks of README, CONTRIBUTING and docs/, and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("**/*.md")])

_FENCE = re.compile(r"^ *```(\w*)")
_MARKER = re.compile(r"^<!-- test: (\w+)(?:; (.+))? -->$")
_INLINE = re.compile(r"`([^`\n]+)`")
_LAUNCHERS = ("mpiexec", "mpirun", "srun")
_PROGRAM = re.compile(r"(gnnflow-[a-z]+|python3?|make)$")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    A comment `<!-- test: WORD; reason -->` on the line above the fence says what to do with it:
    `run` runs it end to end; `compile` only compiles Python, without looking for its imports;
    `skip` leaves a block of commands alone. The last two need a reason.
    """

    page: str
    line: int
    language: str
    text: str
    marker: str
    reason: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read_blocks() -> list[Block]:
    """Returns the blocks of all pages in order."""
    return [block for page in PAGES for block in _blocks_of(page)]


def _blocks_of(page: Path) -> list[Block]:
    blocks: list[Block] = []
    marker, reason, language, start = "", "", None, 0
    inside: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if language is not None:
            if fence:
                name = str(page.relative_to(ROOT))
                text = "\n".join(inside) + "\n"
                blocks.append(Block(name, start, language, text, marker, reason))
                language, marker, reason = None, "", ""
            else:
                inside.append(line)
        elif fence:
            language, start, inside = fence[1], number, []
        elif found := _MARKER.match(line.strip()):
            marker, reason = found[1], found[2] or ""
        elif line.strip():
            marker, reason = "", ""
    assert language is None, f"a block of {page} has no end"
    return blocks


def commands_of(block: Block) -> list[list[str]]:
    """Returns the commands of a block of bash or of a session, without what starts them."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [words for line in lines for words in split_commands(line)]


def split_commands(line: str) -> list[list[str]]:
    """Splits a line at `&&`, `;` and `|`, and drops environment settings and MPI launchers."""
    commands: list[list[str]] = [[]]
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|")
    lexer.commenters = "#"
    lexer.whitespace_split = True
    for word in lexer:
        if set(word) <= set("&;|"):
            commands.append([])
        else:
            commands[-1].append(word)
    return [_without_launcher(words) for words in commands if words]


def _without_launcher(words: list[str]) -> list[str]:
    while words and re.match(r"[A-Z_0-9]+=", words[0]):
        words = words[1:]
    if words and words[0] in _LAUNCHERS:
        for position, word in enumerate(words):
            if _PROGRAM.match(word):
                return words[position:]
    return [Path(words[0]).name, *words[1:]] if words else words


def inline_commands() -> list[tuple[str, str]]:
    """Returns `(page, text)` of the gnnflow commands between backquotes outside of blocks."""
    found = []
    for page in PAGES:
        text = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.M | re.S)
        name = str(page.relative_to(ROOT))
        spans = _INLINE.findall(" ".join(text.split("\n")))
        found += [(name, span) for span in spans if span.startswith("gnnflow-")]
    return found
