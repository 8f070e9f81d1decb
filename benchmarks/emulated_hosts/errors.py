"""What can go wrong between a benchmark and its emulated hosts."""

from gnnflow.errors import GnnflowError


class EmulationError(GnnflowError, RuntimeError):
    """Emulated hosts could not be set up, or a program on them did not end as it should."""


class EmulationUnavailableError(EmulationError):
    """This machine cannot emulate hosts: a tool or a permission is missing."""
