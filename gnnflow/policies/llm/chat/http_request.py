"""One request to an HTTP server and its answer, bounded in time and size as a whole."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_ANSWER_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What a server answered."""

    status: int
    """Its HTTP status."""

    headers: Mapping[str, str]
    """Its headers, names in lower case."""

    body: bytes
    """Its body, cut at `MAX_ANSWER_BYTES`."""


@dataclass(slots=True)
class _Exchange:
    request: urllib.request.Request
    timeout_s: float
    connection: http.client.HTTPConnection | None = None
    connected: socket.socket | None = None
    is_over: bool = False
    reply: Reply | None = None
    error: BaseException | None = None

    def run(self) -> None:
        """Asks and reads, in a thread of its own."""
        try:
            self.reply = self._ask()
        except BaseException as error:
            self.error = error

    def hold(self, connected: socket.socket | None) -> None:
        """Takes the socket, which the connection itself forgets once there is an answer.

        Raises:
            TimeoutError: if nobody waits any more.
        """
        self.connected = connected
        if self.is_over:
            raise TimeoutError

    def abandon(self) -> None:
        """Ends whatever the thread waits for on the network."""
        self.is_over = True
        connected = self.connected
        if connected is None and self.connection is not None:
            connected = self.connection.sock  # of a proxy
        if connected is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def _ask(self) -> Reply:
        opener = urllib.request.OpenerDirector()
        # No handler of redirects: the key would go along, to whatever place a server names.
        for handler in (urllib.request.ProxyHandler(), _Http(self), _Https(self)):
            opener.add_handler(handler)
        with opener.open(self.request, timeout=self.timeout_s) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Reply(status=response.status, headers=headers, body=_read(response))


class _HttpConnection(http.client.HTTPConnection):
    exchange: _Exchange

    def connect(self) -> None:
        super().connect()
        self.exchange.hold(self.sock)


class _HttpsConnection(http.client.HTTPSConnection):
    exchange: _Exchange
    context: ssl.SSLContext

    def connect(self) -> None:
        # As the class above, but `abandon` finds the socket before the handshake, which the other
        # end may hold up, too.
        http.client.HTTPConnection.connect(self)
        name = getattr(self, "_tunnel_host", None) or self.host
        self.sock = self.context.wrap_socket(
            self.sock, server_hostname=name, do_handshake_on_connect=False
        )
        self.exchange.hold(self.sock)
        self.sock.do_handshake()


class _Http(urllib.request.HTTPHandler):
    def __init__(self, exchange: _Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        def connect(*args: Any, **options: Any) -> _HttpConnection:
            connection = _HttpConnection(*args, **options)
            connection.exchange = self._exchange
            self._exchange.connection = connection
            return connection

        return self.do_open(connect, request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, exchange: _Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        def connect(*args: Any, **options: Any) -> _HttpsConnection:
            context = ssl.create_default_context()
            connection = _HttpsConnection(*args, context=context, **options)
            connection.exchange, connection.context = self._exchange, context
            self._exchange.connection = connection
            return connection

        return self.do_open(connect, request)


def exchange(url: str, headers: Mapping[str, str], body: bytes | None, *, deadline: float) -> Reply:
    """Sends a request and reads the answer, whatever its status.

    Names are looked up, connections made and lines read in a thread that is left behind at the
    deadline: a server that trickles a byte now and then, in whichever part, gains no time.

    Args:
        url: address of http or https, without a user or password.
        headers: of the request.
        body: sent by POST; None sends a GET.
        deadline: when to give up, by `time.monotonic`.

    Raises:
        TimeoutError: if there is no whole answer by then.
        OSError: if the server cannot be reached.
        http.client.HTTPException: if its answer is not HTTP.
    """
    timeout_s = max(deadline - time.monotonic(), 0.001)
    request = urllib.request.Request(url, body, dict(headers))
    asked = _Exchange(request, timeout_s)
    thread = threading.Thread(target=asked.run, name="gnnflow-ask", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        asked.abandon()
        raise TimeoutError
    if asked.reply is not None:
        return asked.reply
    error = asked.error
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        error = error.reason  # urllib wraps what happens before the answer
    assert error is not None
    raise error


def _read(response: http.client.HTTPResponse) -> bytes:
    data = bytearray()
    while len(data) < MAX_ANSWER_BYTES and (piece := response.read1(_PIECE_BYTES)):
        data += piece
    return bytes(data[:MAX_ANSWER_BYTES])
