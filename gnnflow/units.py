"""Numbers as people read them."""


def human_bytes(number: float) -> str:
    """A number of bytes in the unit that suits it, as `61.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def short_number(number: float) -> str:
    """A number that need not be exact in few characters, as `84.1k`."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{suffix}"
    return f"{number:.0f}"
