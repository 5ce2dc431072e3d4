"""Controlled calls under virtual time: any messages from caller, callee and a stranger to an edge in between.

Scripts are those of fuzz_proxy. Words between percent signs become what the edge sent last: `%CONTACT%` (URI of its
Contact), `%TAG%` (its To tag), and of its own request `%CALL%`, `%FROM%`, `%BRANCH%` and `%CSEQ%`.
"""
import re
from typing import Any

from proxy.config import Config, decode
from proxy.policy.validate import problems_of
from sipcore.stack.hop import Hop
from sipcore.wire.message import Message
from tests.fuzz import fuzz_proxy, harness
from tests.fuzz.fuzz_proxy import script

FILE = fuzz_proxy.FILE.replace('to = "pbx"\n', 'to = "pbx"\ncontrol = true\n')
CONFIG: Config = decode(FILE, problems_of, file="fuzz.toml")


class Run(fuzz_proxy.Run):
    """One script on an edge of its own."""

    def __init__(self) -> None:
        super().__init__(CONFIG)
        self.words: dict[bytes, bytes] = {}

    def feed(self, message: bytes, source: Hop, listener: int = 0) -> None:
        for word, text in self.words.items():
            message = message.replace(word, text)
        super().feed(message, source, listener)

    def look(self) -> None:
        """What leaves can be read again, and nothing went wrong inside."""
        for _listener, _host, port, data in self.proxy.drain():
            self.last = data
            assert 0 < port <= 65535
            message = Message(data, not data.startswith(b"SIP/2.0 "))
            if message.is_request:
                self.words |= {b"%CALL%": message.call_id.encode(), b"%FROM%": message.from_tag.encode(),
                               b"%BRANCH%": message.branch.encode(), b"%CSEQ%": b"%d" % message.cseq[0]}
            elif message.to_tag:
                self.words[b"%TAG%"] = message.to_tag.encode("utf-8", "surrogateescape")
            contact = re.search(rb"\r\nContact: <(sip:198\.51\.100\.5:5060;t=[0-9a-v]{26})>\r\n", data)
            if contact:
                self.words[b"%CONTACT%"] = contact[1]
        assert self.proxy.take_troubles() == []

    def end(self) -> None:
        assert self.proxy.live == 0
        assert self.proxy.pool.live == (0, 0, 0)
        found = self.proxy.statistics()
        assert min(found.values()) >= 0
        assert found["datagrams_in"] == self.fed
        assert found["calls_up"] <= found["calls"]
        assert found["calls_answered"] <= found["calls"]


def target(data: bytes) -> None:
    Run().play(data)


def _message(start: str, cseq: str, tags: tuple[str, str], call: str, via: str, *more: str) -> bytes:
    lines = [start, f"Via: SIP/2.0/UDP {via}", "Max-Forwards: 70", f"From: <sip:ann@192.0.2.10>{tags[0]}",
             f"To: <sip:100@198.51.100.5>{tags[1]}", f"Call-ID: {call}", f"CSeq: {cseq}", *more]
    return ("\r\n".join(lines) + "\r\nContent-Length: 0\r\n\r\n").encode()


def _seeds() -> list[bytes]:
    contact = "Contact: <sip:ann@192.0.2.10>"

    def ann(method: str, cseq: int, branch: str, uri: str = "%CONTACT%", *more: str) -> bytes:
        first = method in ("INVITE", "CANCEL") and cseq == 1
        return _message(f"{method} {'sip:100@198.51.100.5' if first else uri} SIP/2.0", f"{cseq} {method}",
                        (";tag=a", "" if first else ";tag=%TAG%"), "call-of-ann", f"192.0.2.10;branch=z9hG4bK{branch}",
                        contact, *more)

    def answer(status: int, method: str, *more: str) -> bytes:
        return _message(f"SIP/2.0 {status} Whatever", f"%CSEQ% {method}", (";tag=%FROM%", ";tag=b"), "%CALL%",
                        "198.51.100.5:5060;branch=%BRANCH%;rport=5060", "Contact: <sip:100@203.0.113.20>", *more)

    def bob(method: str, cseq: int, branch: str, *more: str) -> bytes:
        return _message(f"{method} %CONTACT% SIP/2.0", f"{cseq} {method}", (";tag=b", ";tag=%FROM%"), "%CALL%",
                        f"203.0.113.20;branch=z9hG4bK{branch}", "Contact: <sip:100@203.0.113.20>", *more)

    invite, cancel = ann("INVITE", 1, "1"), ann("CANCEL", 1, "1")
    up: list[tuple[bytes, bytes]] = [
        (b"a", invite), (b"b", answer(180, "INVITE")), (b"b", answer(200, "INVITE")), (b"a", ann("ACK", 1, "2"))]
    end: list[tuple[bytes, bytes]] = [(b"a", ann("BYE", 3, "3")), (b"b", answer(200, "BYE"))]
    return [
        script(*up, *end),
        script(*up, (b"b", bob("BYE", 7, "4")), (b"a", answer(200, "BYE"))),
        script(*up, (b"a", ann("INVITE", 2, "5")), (b"b", answer(491, "INVITE")), (b"u", bob("BYE", 7, "6")), *end),
        script(*up, (b"a", ann("REFER", 2, "7", "%CONTACT%", "Refer-To: <sip:x@pbx.example.net>")), *end),
        script(*up[:2], (b"a", cancel), (b"b", answer(487, "INVITE")), (b"a", cancel), (b"t", b"9000")),
        script((b"a", invite), (b"a", invite), (b"b", answer(486, "INVITE")), (b"t", b"40000"), (b"a", invite)),
        script((b"a", invite), (b"t", b"700"), (b"u", answer(200, "INVITE")), (b"a", ann("ACK", 1, "2"))),
    ]


SEEDS: list[Any] = _seeds()

if __name__ == "__main__":
    harness.run(target, SEEDS)
