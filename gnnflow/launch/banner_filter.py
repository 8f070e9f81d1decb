"""What MPICH's launcher prints when a rank is killed, taken out of the output of a job."""

import re

_OPENING = b"\n" + b"=" * 83 + b"\n=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES"
_LAST_LINE = b"Please see the FAQ page"
_SIGNAL = re.compile(rb"EXIT STRING: .*\(signal (\d+)\)")


class BannerFilter:
    """Lets bytes pass as they come, except for the launcher's banner.

    Only a line that may begin the banner is held back, so that a live line is seen at once.
    """

    def __init__(self) -> None:
        """Begins at the start of a line."""
        self._held = b""
        self._at_line_start = True
        self._in_banner = False
        self.signal: int | None = None
        """The signal that ended ranks, as far as a banner said so."""

    def feed(self, data: bytes) -> bytes:
        """Takes what was printed; returns what may be shown now."""
        data, self._held = self._held + data, b""
        shown = []
        while data:
            if self._at_line_start and not self._in_banner:
                self._in_banner = data.startswith(_OPENING)
                if not self._in_banner and _OPENING.startswith(data):
                    self._held = data
                    break
            line, end, rest = data.partition(b"\n")
            if self._in_banner and not end:
                self._held = data
                break
            if self._in_banner:
                if found := _SIGNAL.search(line):
                    self.signal = int(found[1])
                self._in_banner = not line.startswith(_LAST_LINE)
            else:
                shown.append(line + end)
            self._at_line_start = bool(end)
            data = rest
        return b"".join(shown)

    def finish(self) -> bytes:
        """Returns what was held back when the output ends."""
        return b"" if self._in_banner else self._held
