"""One WebSocket connection of a SIP client (RFC 7118), by the sans-IO server protocol of the `websockets` library.

What a stranger can make it hold: HANDSHAKE_BYTES before it is open, then one message; 4 KiB more where it is idle.
"""
from collections.abc import Sequence

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

SUBPROTOCOL = Subprotocol("sip")
HANDSHAKE_BYTES = 16384
"""Most bytes of a request to upgrade: a browser's has hundreds, and its cookies."""
_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class WebSocket:
    """Bytes in, SIP messages out, and the other way round.

    limit: bytes of a message, in however many frames. origins: pages that may connect (the Origin header), and nobody
    who names none; empty: all. Nothing is compressed: what one message takes stays bounded by its own length.
    """

    def __init__(self, limit: int, origins: Sequence[str] = ()):
        allowed = [Origin(origin) for origin in origins] or None
        self._protocol = ServerProtocol(
            origins=allowed, subprotocols=[SUBPROTOCOL], extensions=None, max_size=limit)
        self._head = 0
        self._text = bytearray()
        self._fragmented = False
        self.open = False
        self.over = False
        """Nothing comes any more; what `to_send` has is the end."""
        self.trouble = ""
        """What the peer did wrong."""
        self.begun = False
        """Whether the peer has begun something that it has not ended."""

    @property
    def writable(self) -> bool:
        """Whether it is open, and nobody has said goodbye."""
        return self._protocol.state is State.OPEN

    def receive(self, data: bytes) -> list[bytes]:
        """The whole messages in what came."""
        messages: list[bytes] = []
        if not self.open:
            self._head += len(data)
        self._protocol.receive_data(data)
        events = self._protocol.events_received()
        for event in events:
            if isinstance(event, Request):
                self._upgrade(event)
            elif isinstance(event, Frame) and event.opcode in _DATA:
                self._text += event.data
                self._fragmented = not event.fin
                if event.fin:
                    messages.append(bytes(self._text))
                    self._text.clear()
        self.begun = self._fragmented or not events
        if self._protocol.handshake_exc is not None:
            self._end(str(self._protocol.handshake_exc))
        elif self._protocol.parser_exc is not None:
            self._end(str(self._protocol.parser_exc))
        elif self._protocol.close_expected():
            self._end("")
        elif not self.open and self._head > HANDSHAKE_BYTES:
            self._end(f"more than {HANDSHAKE_BYTES} bytes, and no whole request to upgrade")
        return messages

    def send(self, message: bytes) -> None:
        """Queue a message where it is writable: as text where it is, which browsers like better."""
        try:
            message.decode()
        except UnicodeDecodeError:
            self._protocol.send_binary(message)
        else:
            self._protocol.send_text(message)

    def ping(self) -> None:
        """Queue what every peer has to answer (RFC 6455 5.5.2)."""
        self._protocol.send_ping(b"")

    def to_send(self) -> bytes:
        """The bytes for the connection."""
        return b"".join(self._protocol.data_to_send())

    def _upgrade(self, request: Request) -> None:
        response = self._protocol.accept(request)
        self._protocol.send_response(response)
        if response.status_code == 101:
            self.open = True
        else:
            self._end(f"HTTP {response.status_code}: {self._protocol.handshake_exc}")

    def _end(self, trouble: str) -> None:
        self.over = True
        self.trouble = self.trouble or trouble
