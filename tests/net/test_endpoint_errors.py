"""The endpoint on uvloop against real sockets: an error from the network must not make it deaf."""
import asyncio
import socket

import pytest
import uvloop

from sipcore.base.trie import Trie
from sipcore.net.endpoint import Endpoint
from sipcore.net.udp import bind_udp
from sipcore.stack.admission import Admission
from sipcore.stack.identity import Identity
from sipcore.stack.proxy import Proxy
from sipcore.stack.verdict import Target, Verdict
from tests.endpoints import build

HOST = "127.0.0.1"
ROUNDS = 5
BURST = 30


def closed_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        return int(taken.getsockname()[1])


def invite(source: tuple[str, int], number: int) -> bytes:
    return build(f"INVITE sip:a@{HOST} SIP/2.0", [
        ("Via", f"SIP/2.0/UDP {source[0]}:{source[1]};branch=z9hG4bKdeaf{number}"), ("Max-Forwards", "70"),
        ("From", f"<sip:b@{HOST}>;tag=b"), ("To", f"<sip:a@{HOST}>"), ("Call-ID", f"deaf{number}"),
        ("CSeq", "1 INVITE"), ("Contact", f"<sip:b@{source[0]}:{source[1]}>")])


@pytest.mark.parametrize("together", [1, 20])
def test_it_hears_after_icmp_errors(together):
    """Each INVITE goes to a port where nobody listens: the error comes back, and the next INVITE is heard.

    together: how many at once, so that errors and datagrams wait at the same time.
    """
    async def play() -> list[int]:
        loop = asyncio.get_running_loop()
        admission = Admission([Trie([("127.0.0.0/8", 0)])])
        admission.add_group("allow", ["INVITE"])
        target = (HOST, closed_port())
        proxy = Proxy(Identity(), admission=admission, decide=lambda _: Verdict(targets=(Target(*target),)))
        proxy.overload.limit_to(0, 900, 10)  # lag of a busy machine refuses nothing
        sock = bind_udp(HOST, 0)
        edge = sock.getsockname()
        proxy.add_listener(*edge)
        endpoint = Endpoint(proxy, [sock])
        endpoint.start(loop)
        phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        phone.bind((HOST, 0))
        phone.setblocking(False)
        finals = []
        try:
            for start in range(ROUNDS):
                for number in range(together):
                    phone.sendto(invite(phone.getsockname(), 100 * start + number), edge)
                refused = 0
                async with asyncio.timeout(60):
                    while refused < together:
                        status = int((await loop.sock_recv(phone, 4096))[8:11])
                        refused += status >= 300
                finals.append(refused)
            assert endpoint.statistics()["transport_errors"] >= ROUNDS
        finally:
            endpoint.close()
            phone.close()
        return finals

    assert uvloop.run(play()) == [together] * ROUNDS


def test_a_burst_of_refusals_spoils_no_good_target():
    """In each burst one INVITE among many goes to a phone that listens: it arrives, and is refused by nobody."""
    async def play() -> None:
        loop = asyncio.get_running_loop()
        admission = Admission([Trie([("127.0.0.0/8", 0)])])
        admission.add_group("allow", ["INVITE"])
        good = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        good.bind((HOST, 0))
        good.setblocking(False)
        targets = [(HOST, closed_port()) for _ in range(BURST)]
        targets[BURST // 2] = good.getsockname()
        order = iter(targets * ROUNDS)
        proxy = Proxy(Identity(), admission=admission, decide=lambda _: Verdict(targets=(Target(*next(order)),)))
        proxy.overload.limit_to(0, 900, 10)  # lag of a busy machine refuses nothing
        sock = bind_udp(HOST, 0)
        edge = sock.getsockname()
        proxy.add_listener(*edge)
        endpoint = Endpoint(proxy, [sock])
        endpoint.start(loop)
        phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        phone.bind((HOST, 0))
        phone.setblocking(False)
        try:
            for start in range(ROUNDS):
                for number in range(BURST):
                    phone.sendto(invite(phone.getsockname(), 1000 + 100 * start + number), edge)
                finals: list[bytes] = []
                async with asyncio.timeout(60):
                    while b"Call-ID: deaf%d\r\n" % (1000 + 100 * start + BURST // 2) not in (
                            await loop.sock_recv(good, 4096)):
                        pass
                    while len(finals) < BURST - 1:
                        answer = await loop.sock_recv(phone, 4096)
                        if not answer.startswith(b"SIP/2.0 100"):
                            finals.append(answer)
                assert not [answer for answer in finals
                            if b"Call-ID: deaf%d\r\n" % (1000 + 100 * start + BURST // 2) in answer]
        finally:
            endpoint.close()
            phone.close()
            good.close()

    uvloop.run(play())
