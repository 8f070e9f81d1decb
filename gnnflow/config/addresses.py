"""Addresses of servers that may hold a password or a key, which is used and never shown."""

import urllib.parse

from gnnflow.errors import ConfigError

_HIDDEN = "hidden"


def check_address(name: str, url: str) -> urllib.parse.SplitResult:
    """Takes an address of http or https apart.

    Args:
        name: the option, for the message, which does not repeat the address.
        url: the address.

    Raises:
        ConfigError: if it is no such address.
    """
    wrong = ConfigError(f"{name} must be an address as http://HOST:PORT/v1")
    try:
        parts = urllib.parse.urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_whole = is_whole and parts.port != 0
    except ValueError:  # a port or a host of IPv6 that is none
        raise wrong from None
    if not is_whole or not url.isprintable() or " " in url:
        raise wrong
    return parts


def shown_address(url: str) -> str:
    """Returns an address as it may be printed and kept: no user, password, query or fragment."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return _HIDDEN
    host = parts.netloc.rpartition("@")[2]
    query = _HIDDEN if parts.query else ""
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, query, ""))
