"""Packages of an extra, imported when something asks for them."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from gnnflow.errors import MissingExtraError


def require_package(module: str, *, extra: str, purpose: str, package: str | None = None) -> Any:
    """Imports a module of an optional package.

    Args:
        module: dotted name to import.
        extra: the extra of gnnflow that installs it.
        purpose: who needs it, as the start of a sentence.
        package: its name in the package index, if that differs from the module's.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        root = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != root:
            raise  # the package is there but damaged
        raise MissingExtraError(package or root, extra, purpose) from None


def check_package(package: str, *, extra: str, purpose: str) -> None:
    """Checks that an optional package is there, without importing it.

    Raises:
        MissingExtraError: if it is not installed.
    """
    if find_spec(package) is None:
        raise MissingExtraError(package, extra, purpose)
