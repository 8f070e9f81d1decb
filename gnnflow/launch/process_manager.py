"""What MPICH's library asks of whoever started its ranks: the wire protocol of PMI, version 1.

Each rank has a socket to the process that started it. It sends lines of `name=value` words, of
which `cmd` says what is asked, and reads a line in answer. Ranks put the addresses of their
transports, wait for each other, and get those of the others.

Source: MPICH, "PMI Version 1 wire protocol", and Balaji et al., "PMI: A Scalable Parallel
Process-Management Interface for Extreme-Scale Systems", EuroMPI 2010.
"""

import os
import secrets
from collections.abc import Callable

_MAXES = "kvsname_max=256 keylen_max=64 vallen_max=1024"
LIMIT_BYTES = 1 << 16
"""More than a line may have."""


class ProcessManager:
    """Answers the ranks of one machine."""

    def __init__(self, num_ranks: int, send: Callable[[int, bytes], None]) -> None:
        """Knows all ranks from the start.

        Args:
            num_ranks: how many there are.
            send: sends bytes to a rank.
        """
        self._num_ranks = num_ranks
        self._send = send
        self._received = [b""] * num_ranks
        # MPICH names its shared memory after this: no two jobs of a machine may have the same.
        self._job = f"gnnflow-{os.getpid()}-{secrets.token_hex(8)}"
        self._values = {"PMI_process_mapping": f"(vector,(0,1,{num_ranks}))"}
        self._waiting: set[int] = set()
        self._inside: set[int] = set()
        self.aborted: int | None = None
        """The exit code with which a rank has asked for the end of the job."""

    def missed_by_others(self, rank: int) -> bool:
        """Whether a rank that has ended should not have: it is in MPI, or others wait for it."""
        return rank in self._inside or bool(self._waiting)

    def feed(self, rank: int, data: bytes) -> bool:
        """Takes what a rank sent; False if that is no line of the protocol."""
        *lines, rest = (self._received[rank] + data).split(b"\n")
        self._received[rank] = rest
        for line in lines:
            self._answer(rank, line.decode(errors="replace"))
        return len(rest) < LIMIT_BYTES

    def _answer(self, rank: int, line: str) -> None:
        head, _, value = line.partition(" value=")
        words = dict(word.partition("=")[::2] for word in head.split())
        command = words.get("cmd", "")
        if command == "init":
            self._inside.add(rank)
            self._reply(rank, "response_to_init", "rc=0 pmi_version=1 pmi_subversion=1")
        elif command == "get_maxes":
            self._reply(rank, "maxes", f"rc=0 {_MAXES}")
        elif command == "get_appnum":
            self._reply(rank, "appnum", "rc=0 appnum=0")
        elif command == "get_my_kvsname":
            self._reply(rank, "my_kvsname", f"rc=0 kvsname={self._job}")
        elif command == "get_universe_size":
            self._reply(rank, "universe_size", f"rc=0 size={self._num_ranks}")
        elif command == "put":
            self._values[words.get("key", "")] = value
            self._reply(rank, "put_result", "rc=0")
        elif command == "get":
            found = self._values.get(words.get("key", ""))
            self._reply(rank, "get_result", "rc=1" if found is None else f"rc=0 value={found}")
        elif command == "barrier_in":
            self._wait(rank)
        elif command == "finalize":
            self._inside.discard(rank)
            self._reply(rank, "finalize_ack", "rc=0")
        elif command == "abort":
            code = words.get("exitcode", "")
            self.aborted = int(code) & 0xFF or 1 if code.isdigit() else 1
        elif command:
            self._reply(rank, f"{command}_result", "rc=-1 msg=not_supported")

    def _wait(self, rank: int) -> None:
        self._waiting.add(rank)
        if len(self._waiting) == self._num_ranks:
            self._waiting.clear()
            for each in range(self._num_ranks):
                self._reply(each, "barrier_out", "rc=0")

    def _reply(self, rank: int, command: str, words: str) -> None:
        self._send(rank, f"cmd={command} {words}\n".encode())
