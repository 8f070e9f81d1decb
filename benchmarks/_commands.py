"""gnnflow's commands as benchmarks run them, in processes of their own."""

import subprocess
import sys
from collections.abc import Mapping, Sequence

from gnnflow.errors import GnnflowError

_SHOWN = 1500


class CommandError(GnnflowError):
    """A command of a benchmark failed."""


def gnnflow_command(name: str) -> list[str]:
    """The command gnnflow-NAME of this interpreter, installed or not."""
    return [sys.executable, "-c", f"from gnnflow.cli.{name} import main; main()"]


def option_words(options: Mapping[str, object]) -> list[str]:
    """Options by name, without the dashes, as words of a command line."""
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def run_command(command: Sequence[object], what: str, env: dict[str, str] | None = None) -> str:
    """Runs a command and returns what it wrote.

    Raises:
        CommandError: If it fails.
    """
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    if done.returncode != 0:
        raise CommandError(f"{what} failed: {(done.stderr or done.stdout).strip()[-_SHOWN:]}")
    return done.stdout
