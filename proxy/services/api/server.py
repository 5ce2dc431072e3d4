"""uvicorn, on a socket that the supervisor has bound, on the loop of the process."""
import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager

import msgspec
import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .problems import MEDIA_TYPE, problem

STOP_SECONDS = 2
MOST_CONNECTIONS = 512
MESSAGE_BYTES = 65_536
"""Of a listener to the event stream, which has nothing to say."""
HEAD_BYTES = 65_536
"""Of a request's line and headers."""
REQUEST_SECONDS = 10.0
"""From the beginning of a connection or of a request to the end of its body: nobody holds one of MOST_CONNECTIONS by
saying little. Between requests uvicorn's own time of 5 s counts."""


class _Protocol(HttpToolsProtocol):
    """A connection whose requests have heads of a bounded length, and come within a bounded time: the parser itself
    has no limits. What is no HTTP, or has a method that HTTP does not know, is refused as everything is."""

    _head: int | None = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_request()
        super().connection_lost(exc)

    def _await_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _have_request(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def data_received(self, data: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:
            # Whatever comes ends uvicorn's time between requests, be it an empty line.
            self._await_request()
        super().data_received(data)
        if self._head is not None:
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        self._head = 0
        self._await_request()
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._have_request()
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        self._head = None
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        body = msgspec.json.encode(problem(400, msg))
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-type: %s\r\ncontent-length: %d\r\n"
                             b"connection: close\r\n\r\n%s" % (MEDIA_TYPE.encode(), len(body), body))
        self.transport.close()


class _Server(uvicorn.Server):
    """Signals are the process' business."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class Server:
    """The API on a listening socket."""

    def __init__(self, app: ASGIApp, sock: socket.socket):
        self._socket = sock
        self._server = _Server(uvicorn.Config(
            app, lifespan="off", log_config=None, access_log=False, ws="websockets-sansio", ws_max_size=MESSAGE_BYTES,
            limit_concurrency=MOST_CONNECTIONS, timeout_graceful_shutdown=STOP_SECONDS, server_header=False,
            http=_Protocol, proxy_headers=False))

    async def run(self) -> None:
        """Serve until stop."""
        await self._server.serve(sockets=[self._socket])

    async def stop(self, serving: asyncio.Task[None]) -> None:
        """Take no more requests, finish those that run within STOP_SECONDS."""
        self._server.should_exit = True
        await asyncio.wait([serving])
