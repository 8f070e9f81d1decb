"""Packages that only some policies need, imported when those are used."""

from importlib import import_module
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
