"""The transaction layer: a call forwarded with state, INVITE, 180, 200, ACK, BYE and its 200, no sockets around it."""
from itertools import count

from pytest_benchmark.fixture import BenchmarkFixture

from sipcore.base.trie import Trie
from sipcore.stack.admission import Admission
from sipcore.stack.proxy import Proxy
from sipcore.stack.verdict import Verdict

CALLER, CALLEE = ("192.0.2.1", 5060), ("192.0.2.2", 5060)
AHEAD = b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-%b;rport\r\nMax-Forwards: 70\r\n"
DIALOG = b"From: <sip:a@192.0.2.1>;tag=a\r\nTo: <sip:b@192.0.2.2>%b\r\nCall-ID: %d@192.0.2.1\r\nCSeq: %b\r\n"
END = b"Contact: <sip:%b>\r\nContent-Length: 0\r\n\r\n"


def _lines(message: bytes, name: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in message.split(b"\r\n") if line.startswith(name + b":"))


def test_a_call_through_the_proxy(benchmark: BenchmarkFixture) -> None:
    admission = Admission([Trie([("192.0.2.0/24", 0)])])
    admission.add_group("allow", ("INVITE", "BYE"))
    proxy = Proxy(admission=admission, decide=lambda request: Verdict(), transactions=1 << 18, dialogs=1 << 16)
    proxy.add_listener("192.0.2.9", 5060)
    numbers, clock = count(1), count(1_000_000, 10)

    def feed(data: bytes, source: tuple[str, int], now: int) -> bytes:
        proxy.feed(data, source, now)
        return next(sent[3] for sent in proxy.drain() if not sent[3].startswith(b"SIP/2.0 100"))

    def call() -> bytes:
        n, now = next(numbers), next(clock)
        proxy.advance(now)
        invite = feed(b"INVITE sip:b@192.0.2.2 SIP/2.0\r\n" + AHEAD % b"%d" % n
                      + DIALOG % (b"", n, b"1 INVITE") + END % b"192.0.2.1", CALLER, now)
        vias, routes = _lines(invite, b"Via"), _lines(invite, b"Record-Route")
        for status in (b"180 Ringing", b"200 OK"):
            feed(b"SIP/2.0 %b\r\n" % status + vias + routes + DIALOG % (b";tag=b", n, b"1 INVITE") + END % b"192.0.2.2",
                 CALLEE, now)
        inside = routes.replace(b"Record-Route", b"Route") + DIALOG
        feed(b"ACK sip:192.0.2.2 SIP/2.0\r\n" + AHEAD % b"a%d" % n
             + inside % (b";tag=b", n, b"1 ACK") + END % b"192.0.2.1", CALLER, now)
        bye = feed(b"BYE sip:192.0.2.2 SIP/2.0\r\n" + AHEAD % b"b%d" % n
                   + inside % (b";tag=b", n, b"2 BYE") + END % b"192.0.2.1", CALLER, now)
        vias = _lines(bye, b"Via")
        return feed(b"SIP/2.0 200 OK\r\n" + vias + DIALOG % (b";tag=b", n, b"2 BYE") + END % b"192.0.2.2", CALLEE, now)

    assert benchmark(call).startswith(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-b")
    assert proxy.take_troubles() == []
