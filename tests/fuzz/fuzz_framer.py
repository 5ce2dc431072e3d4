"""The framer: the same frames however the stream is cut, and the index finds the same end in each message."""
from sipcore.base.errors import MalformedMessage
from sipcore.wire.framer import Framing
from sipcore.wire.message import index
from tests.fuzz import harness

LIMIT = 8192
PIECE = 7


def frames(parts: list[bytes]) -> tuple[list[tuple[str, bytes]], int]:
    framing = Framing(LIMIT)
    return [frame for part in parts for frame in framing.feed(part)], framing.waiting


def target(data: bytes) -> None:
    whole, waiting = frames([data])
    assert frames([data[at:at + PIECE] for at in range(0, len(data), PIECE)]) == (whole, waiting)
    assert b"".join(part for _, part in whole) == data[:sum(len(part) for _, part in whole)]
    assert waiting <= LIMIT
    assert all(kind not in ("bad length", "broken") for kind, _ in whole[:-1])
    for kind, part in whole:
        if kind == "message":
            assert 0 < len(part) <= LIMIT
            try:
                assert index(part).size == len(part)
            except MalformedMessage:
                continue


SEEDS = [
    *harness.messages(),
    b"\r\n\r\nOPTIONS sip:a SIP/2.0\r\nl:\r\n 4\r\n\r\nbodySIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n\r\n",
    b"BYE sip:a SIP/2.0\r\nContent-Length: 4\r\nl: 0\r\n\r\n",
]

if __name__ == "__main__":
    harness.run(target, SEEDS)
