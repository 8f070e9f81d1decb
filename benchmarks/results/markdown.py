"""Tables in Markdown, and pages whose parts between markers are made."""

import re
from collections.abc import Mapping, Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; what is empty stays so."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def rewrite(page: str, parts: Mapping[str, str]) -> str:
    """Puts each part between `<!-- begin: NAME -->` and `<!-- end: NAME -->`.

    Raises:
        ValueError: If the page lacks a marker, or has one that no part is for.
    """
    wanted = re.findall(r"<!-- begin: (\S+) -->", page)
    if sorted(wanted) != sorted(parts):
        raise ValueError(f"the page has markers for {wanted}, there are parts {list(parts)}")
    for name, text in parts.items():
        begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
        head, _, rest = page.partition(begin)
        _, found, tail = rest.partition(end)
        if not found:
            raise ValueError(f"the page lacks '{end}'")
        page = f"{head}{begin}\n{text}\n\n{end}{tail}"
    return page
