"""Requests that begin something wait while calls in progress go on: what waits, and in which order."""
import asyncio
import socket

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from sipcore.base.trie import Trie
from sipcore.net.backlog import Backlog
from sipcore.net.endpoint import Endpoint
from sipcore.net.udp import bind_udp
from sipcore.stack.admission import Admission
from sipcore.stack.proxy import Proxy
from sipcore.stack.verdict import Verdict
from tests.endpoints import build

BATCH = 64


@pytest.mark.parametrize(("data", "new"), [
    (b"INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n", True),
    (b"INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>;tag=1\r\n\r\n", False),
    (b"INVITE sip:a@b SIP/2.0\r\nt:<sip:a@b> ; TAG=1\r\n\r\n", False),
    (b"INVITE sip:a@b SIP/2.0\r\nTO \t: <sip:a@b>\r\n ;x=y;tag=1\r\n\r\n", False),
    (b"INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\nFrom: <sip:c@d>;tag=1\r\n ;tag=2\r\n\r\n", True),
    (b"INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\nt: x;tag=1\r\n", True),
    (b"INVITE sip:a@b SIP/2.0\nTo: <sip:a@b>;tag=1", False),
    (b"INVITE sip:a@b SIP/2.0\r\nTimestamp: 1;tag=1\r\nt\r\nTo", True),
    (b"CANCEL sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n", True),
    (b"ACK sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n", False),
    (b"BYE sip:a@b SIP/2.0\r\nTo: <sip:a@b>;tag=1\r\n\r\n", False),
    (b"SIP/2.0 100 Trying\r\nTo: <sip:a@b>\r\n\r\n", False),
    (b"\r\n\r\n", False),
    (b"", False),
])
def test_what_waits(data, new):
    assert Backlog.is_new(data) is new


@given(st.binary(max_size=200))
def test_anything_can_be_looked_at(data):
    assert Backlog.is_new(data) in (True, False)
    assert Backlog.is_new(b"INVITE a\r\nTo" + data + b"\r\nt:;tag=1") in (True, False)


@given(st.lists(st.one_of(st.none(), st.integers(0, 65_535)), max_size=400))
def test_first_in_first_out_and_bounded(steps):
    """None takes one out, a number puts one of that size in."""
    backlog = Backlog()
    model: list[tuple[bytes, str, int, int]] = []
    for number, size in enumerate(steps):
        if size is None:
            assert backlog.take() == (model.pop(0) if model else None)
            continue
        one = (number.to_bytes(4) * (size // 4), "192.0.2.1", number, number)
        if backlog.add(*one):
            model.append(one)
    assert len(backlog) == len(model)
    assert sum(len(data) for data, *_ in model) < 4 << 20
    while model:
        assert backlog.take() == model.pop(0)
    assert backlog.take() is None


def test_what_finds_no_room_is_counted():
    backlog = Backlog()
    while backlog.add(bytes(1000), "192.0.2.1", 5060):
        pass
    assert 3900 < backlog.count < 4200
    assert (backlog.deferred, backlog.dropped) == (backlog.count, 1)
    assert backlog.take() is not None
    assert backlog.add(bytes(1000), "192.0.2.1", 5060)


def test_a_request_inside_a_dialog_overtakes_a_flood_and_nothing_else_changes_places():
    """More than a batch waits in the kernel when the loop gets its turn: new ones, and behind them one inside."""
    flood = 5 * BATCH
    options = [build("OPTIONS sip:127.0.0.1 SIP/2.0", [
        ("Via", f"SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{number};rport"), ("Max-Forwards", "70"),
        ("From", "<sip:a@127.0.0.1>;tag=1"), ("To", "<sip:127.0.0.1>" + (";tag=2" if number == flood else "")),
        ("Call-ID", f"c{number}"), ("CSeq", f"{number} OPTIONS")]) for number in range(1, flood + 1)]

    async def play() -> tuple[list[int], int]:
        admission = Admission([Trie([("127.0.0.0/8", 0)])])
        admission.add_group("allow", ("OPTIONS",))
        proxy = Proxy(admission=admission, decide=lambda _: Verdict(action=Verdict.LOCAL, status=200, reason="OK"),
                      transactions=1024, dialogs=64)
        sock = bind_udp("127.0.0.1", 0)
        proxy.add_listener(*sock.getsockname())
        endpoint = Endpoint(proxy, [sock])
        loop = asyncio.get_running_loop()
        endpoint.start(loop)
        seen: list[int] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.setblocking(False)
            phone.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            for data in options:
                phone.sendto(data, sock.getsockname())
            async with asyncio.timeout(60):
                while len(seen) < flood:
                    answer = await loop.sock_recv(phone, 65_535)
                    seen.append(int(answer.partition(b"CSeq: ")[2].split()[0]))
        found = endpoint.statistics()
        endpoint.close()
        return seen, found["deferred"]

    seen, deferred = uvloop.run(play())
    inside = seen.index(flood)
    # A part of the flood is served after each batch, before the last one has been read.
    assert inside < flood / 2
    seen.remove(flood)
    assert seen == list(range(1, flood))
    assert deferred > flood / 2
