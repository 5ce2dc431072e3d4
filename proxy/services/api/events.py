"""The event stream over a WebSocket: one event a message, as JSON."""
import asyncio
import contextlib

from litestar import WebSocket, websocket
from litestar.datastructures import State
from litestar.exceptions import WebSocketDisconnect

from proxy.services.services import Services
from proxy.services.stream import Listener

_TRY_LATER = 1013
_BAD = 1008
_MOST_PATTERNS = 20


@websocket("/v1/events")
async def events(socket: WebSocket[None, None, State], services: Services) -> None:
    """Query: `names`, patterns of event names separated by commas (all by default); `call`, the id of one call."""
    patterns = [one for one in socket.query_params.get("names", "*").split(",") if one][:_MOST_PATTERNS]
    if any(len(pattern) > 64 for pattern in patterns):
        await socket.close(_BAD, "a pattern is too long")
        return
    if services.stream.full:
        await socket.close(_TRY_LATER, "too many listeners")
        return
    await socket.accept()
    listener = Listener(patterns, socket.query_params.get("call", ""))
    services.stream.open(listener)
    # Whatever the client says is thrown away; that it has gone is all that is of interest.
    gone = asyncio.ensure_future(_until_gone(socket))
    try:
        while True:
            following = asyncio.ensure_future(listener.next())
            await asyncio.wait({gone, following}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                following.cancel()
                return
            with contextlib.suppress(WebSocketDisconnect):
                await socket.send_data(following.result(), mode="text")
    finally:
        gone.cancel()
        services.stream.close(listener)


async def _until_gone(socket: WebSocket[None, None, State]) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.receive_data(mode="text")
