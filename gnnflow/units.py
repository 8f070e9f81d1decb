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


def human_seconds(number: float) -> str:
    """Seconds in the unit that suits them, as `0.06 ms`."""
    return f"{number:.2g} s" if number >= 0.1 else f"{1000 * number:.2g} ms"


def signed_percent(change: float) -> str:
    """A share as a change in percent with its sign, as `−47 %`."""
    percent = round(100 * change, 1 if abs(change) < 0.1 else 0)
    text = f"{abs(percent):g} %"
    return f"−{text}" if percent < 0 else f"+{text}"
