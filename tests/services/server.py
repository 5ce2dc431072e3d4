"""An HTTP server on loopback that behaves as badly as a test wants."""
import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Behaviour = Callable[["Received", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Received:
    """A request as it came: header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    url: str
    received: list[Received] = field(default_factory=list)
    most: int = 0
    """Most requests that were open at a time."""
    gone: int = 0
    """Clients that left without waiting for the end of the answer."""


@asynccontextmanager
async def serving(behaviour: Behaviour, tls: ssl.SSLContext | None = None):
    """A Server that answers every request on its connections with the behaviour."""
    server = Server("")
    open_now = 0
    handlers: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")):
                first, *lines = head.decode().rstrip().split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                server.received.append(request := Received(first.split()[1], headers, body))
                open_now += 1
                server.most = max(server.most, open_now)
                try:
                    await behaviour(request, writer)
                    await writer.drain()
                finally:
                    open_now -= 1
        # The stream's own bookkeeping takes a cancelled handler for a broken one.
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except ConnectionError:
            server.gone += 1
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    server.url = f"http{'s' if tls else ''}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answers(body: Any, status: str = "200 OK", *headers: str) -> Behaviour:
    """JSON, or bytes as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def behave(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(response(data, status, *headers))

    return behave


def raw(data: bytes) -> Behaviour:
    """Bytes that need not be HTTP, and then the end of the connection."""

    async def behave(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return behave


async def silent(request: Received, writer: asyncio.StreamWriter) -> None:
    """Takes the request and never answers."""
    await asyncio.Event().wait()


async def dribbling(request: Received, writer: asyncio.StreamWriter) -> None:
    """A byte now and then, so that no wait for the next one ever lasts long."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def slow_head(request: Received, writer: asyncio.StreamWriter) -> None:
    """Headers that never end, slowly."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def endless(request: Received, writer: asyncio.StreamWriter) -> None:
    """As many bytes as are taken."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        await writer.drain()


async def endless_head(request: Received, writer: asyncio.StreamWriter) -> None:
    """One header that goes on for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()
