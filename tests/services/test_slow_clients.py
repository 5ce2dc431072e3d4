"""Connections to the API that take their time: none is kept for whoever does not say what he wants."""
import asyncio
import socket

import pytest

from proxy.services.api import server as api_server
from proxy.services.api.server import Server

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def _hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


async def _ended_while_saying(parts: bytes, drip: bytes) -> bytes:
    """What comes until the connection is over, where a client goes on sending drip behind its first words."""
    sock = socket.create_server(("127.0.0.1", 0))
    server = Server(_hello, sock)
    serving = asyncio.ensure_future(server.run())
    reader, writer = await asyncio.open_connection(*sock.getsockname())

    async def say() -> None:
        writer.write(parts)
        while drip:
            await asyncio.sleep(0.01)
            writer.write(drip)

    saying = asyncio.ensure_future(say())
    found = b""
    try:
        async with asyncio.timeout(60):
            while data := await reader.read(1000):
                found += data
    except ConnectionError:
        pass
    finally:
        saying.cancel()
        writer.close()
        await server.stop(serving)
    return found


@pytest.mark.parametrize(("first", "drip", "answers"), [
    (b"", b"", 0), (REQUEST[:20], b"", 0), (b"GET / HTTP/1.1\r\nX: ", b"x", 0), (REQUEST, b"\r\n", 1),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", b"x", 1)],
    ids=["silent", "half a head", "a head without end", "empty lines behind", "a body without end"])
def test_a_connection_without_a_whole_request_ends(monkeypatch, first, drip, answers):
    monkeypatch.setattr(api_server, "REQUEST_SECONDS", 0.2)
    assert asyncio.run(_ended_while_saying(first, drip)).count(b"200 OK") == answers


def test_a_client_that_says_what_it_wants_is_answered_again_and_again(monkeypatch):
    monkeypatch.setattr(api_server, "REQUEST_SECONDS", 0.2)
    assert asyncio.run(_ended_while_saying(REQUEST + REQUEST, REQUEST[:0])).count(b"200 OK") == 2
