"""A call through two legs, back to back: INVITE, 180, 200, ACK, BYE and its answers, with no sockets around it."""
from itertools import count

from pytest_benchmark.fixture import BenchmarkFixture

from sipcore.stack.capabilities import EXTENSIONS
from sipcore.stack.crossing import crossing
from sipcore.stack.handler import Handler
from sipcore.stack.identity import Identity
from sipcore.stack.leg import Leg
from sipcore.stack.uas import ServerTransaction
from sipcore.stack.useragent import UserAgent
from sipcore.wire.message import Message

CALLER, CALLEE = ("192.0.2.1", 5060), ("192.0.2.2", 5060)
SDP = (b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n"
       b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n")
WITH_SDP = b"Content-Type: application/sdp\r\n"
CONTACT = b"Contact: <sip:192.0.2.2:5060>\r\n"


class Joined:
    """The owner of both legs: what one end says, the other one hears."""

    __slots__ = ("callee", "caller")

    def __init__(self, tx: ServerTransaction) -> None:
        request = tx.request
        caller = Leg.incoming(tx.agent, tx, self)
        assert caller is not None
        self.caller = caller
        self.callee = Leg.outgoing(tx.agent, self)
        self.callee.invite("sip:service@192.0.2.2", CALLEE, local="<sip:a@192.0.2.1>", remote="<sip:b@192.0.2.2>",
                           headers=crossing(request, trusted=False), body=request.body,
                           max_forwards=caller.max_forwards - 1)

    def on_progress(self, leg: Leg, response: Message) -> None:
        self.caller.ring(response.status, response.body)

    def on_answered(self, leg: Leg, response: Message) -> None:
        self.caller.answer(response.body)

    def on_established(self, leg: Leg, ack: Message | None) -> None:
        pass

    def on_ended(self, leg: Leg, by: str, reason: str) -> None:
        (self.callee if leg is self.caller else self.caller).bye()


class Edge(Handler):
    def on_request(self, tx: ServerTransaction) -> None:
        Joined(tx)


def _headers(data: bytes) -> dict[bytes, bytes]:
    lines = data.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]
    return dict(line.split(b": ", 1) for line in reversed(lines))


def _message(start: bytes, lines: bytes, body: bytes = b"") -> bytes:
    return b"%b\r\n%bContent-Length: %d\r\n\r\n%b" % (start, lines, len(body), body)


def _answer(status: int, request: bytes, lines: bytes = b"", body: bytes = b"") -> bytes:
    h = _headers(request)
    to = h[b"To"] if b";tag=" in h[b"To"] else h[b"To"] + b";tag=callee"
    return _message(b"SIP/2.0 %d OK" % status, b"Via: %b\r\nFrom: %b\r\nTo: %b\r\nCall-ID: %b\r\nCSeq: %b\r\n%b" % (
        h[b"Via"], h[b"From"], to, h[b"Call-ID"], h[b"CSeq"], lines), body)


def _inside(method: bytes, cseq: int, answer: bytes) -> bytes:
    h = _headers(answer)
    return _message(b"%b %b SIP/2.0" % (method, h[b"Contact"][1:-1]), (
        b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK%b%b\r\nFrom: %b\r\nTo: %b\r\nCall-ID: %b\r\nCSeq: %d %b\r\n"
        b"Max-Forwards: 70\r\n") % (method, h[b"Call-ID"], h[b"From"], h[b"To"], h[b"Call-ID"], cseq, method))


def test_a_call_through_two_legs(benchmark: BenchmarkFixture) -> None:
    agent = UserAgent(Identity(b"secret of a benchmark"), handler=Edge(), extensions=EXTENSIONS, transactions=65536)
    agent.add_listener("192.0.2.9", 5060)
    numbers, clock = count(1), count(1_000_000, 10)

    def feed(data: bytes, source: tuple[str, int], now: int) -> list[bytes]:
        agent.feed(data, source, now)
        return [sent[3] for sent in agent.drain()]

    def call() -> list[bytes]:
        n, now = next(numbers), next(clock)
        agent.advance(now)
        invite = feed(_message(b"INVITE sip:service@192.0.2.9 SIP/2.0", (
            b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-%d\r\nFrom: <sip:a@192.0.2.1>;tag=%d\r\n"
            b"To: <sip:b@192.0.2.9>\r\nCall-ID: %d@192.0.2.1\r\nCSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.1>\r\n"
            b"Max-Forwards: 70\r\nSubject: Performance\r\n%b") % (n, n, n, WITH_SDP), SDP), CALLER, now)[-1]
        feed(_answer(180, invite, CONTACT), CALLEE, now)
        answer = next(m for m in feed(_answer(200, invite, CONTACT + WITH_SDP, SDP), CALLEE, now)
                      if m.startswith(b"SIP/2.0 200"))
        feed(_inside(b"ACK", 1, answer), CALLER, now)
        bye = next(m for m in feed(_inside(b"BYE", 2, answer), CALLER, now) if m.startswith(b"BYE"))
        return feed(_answer(200, bye), CALLEE, now)

    assert benchmark(call) == []
    assert (agent.take_troubles(), agent.dialogs) == ([], {})
