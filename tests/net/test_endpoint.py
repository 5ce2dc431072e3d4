"""UdpSocket and Endpoint on loopback sockets: batches, order, both families, errors, and sockets that are full."""
import asyncio
import os
import socket
from contextlib import contextmanager

import pytest
import uvloop

from sipcore.base.trie import Trie
from sipcore.net.endpoint import Endpoint
from sipcore.net.udp import bind_udp
from sipcore.stack.admission import Admission
from sipcore.stack.proxy import Proxy
from sipcore.stack.verdict import Target, Verdict
from sipcore.wire.message import Message
from tests.endpoints import SDP, build

METHODS = ("INVITE", "OPTIONS", "MESSAGE")
LOCAL = Verdict(action=Verdict.LOCAL, status=200, reason="OK")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


class Edge:
    """A Proxy on loopback sockets, and a loop that the test turns by hand."""

    def __init__(self, verdict, hosts=("127.0.0.1",), *, message_limit=65535, **buffers):
        self.loop = uvloop.new_event_loop()
        self.listening = [bind_udp(host, 0, **buffers) for host in hosts]
        self.addresses = [sock.getsockname()[:2] for sock in self.listening]
        admission = Admission([Trie([("127.0.0.0/8", 0), ("::1/128", 0)])] * len(hosts))
        admission.add_group("allow", METHODS)
        self.proxy = Proxy(admission=admission, decide=lambda _: verdict(self) if callable(verdict) else verdict,
                           transactions=4096, dialogs=256)
        self.proxy.overload.limit_to(0, 900, 10)  # lag of a busy machine refuses nothing
        for address in self.addresses:
            self.proxy.add_listener(*address)
        self.proxy.set_limits(message=message_limit)
        self.endpoint = Endpoint(self.proxy, self.listening, message_limit=message_limit)
        self.endpoint.start(self.loop)
        self.phones = []

    def phone(self, host="127.0.0.2"):
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        sock.setblocking(False)
        self.phones.append(sock)
        return sock

    def count(self, name):
        return self.endpoint.statistics()[name]

    def until(self, true, seconds=60.0):
        """Turn the loop until true() holds."""
        end = self.loop.time() + seconds
        while not true():
            assert self.loop.time() < end
            self.loop.run_until_complete(asyncio.sleep(0))

    def take(self, phone, count):
        """So many messages that arrive at a phone, turning the loop meanwhile."""
        found: list[Message] = []

        def enough():
            try:
                while len(found) < count:
                    found.append(Message(phone.recv(65535)))
            except BlockingIOError:
                pass
            return len(found) == count
        self.until(enough)
        return found


@contextmanager
def edge(*arguments, **options):
    made = Edge(*arguments, **options)
    try:
        yield made
    finally:
        made.endpoint.close()
        made.loop.close()
        for phone in made.phones:
            phone.close()


def request(phone, to, number=1, method="OPTIONS", body=b"", more=()):
    host, port = phone.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    name = f"[{to[0]}]:{to[1]}" if ":" in to[0] else f"{to[0]}:{to[1]}"
    return build(f"{method} sip:bob@{name} SIP/2.0", [
        ("Via", f"SIP/2.0/UDP {shown}:{port};branch=z9hG4bK-{port}-{number};rport"), ("Max-Forwards", "70"),
        ("From", f"<sip:alice@{shown}>;tag=a"), ("To", f"<sip:bob@{name}>"), ("Call-ID", f"c{number}-{port}"),
        ("CSeq", f"{number} {method}"), ("Contact", f"<sip:alice@{shown}:{port}>"), *more], body)


def test_batches_are_answered_in_the_order_of_each_flow():
    with edge(LOCAL) as one:
        phones = [one.phone() for _ in range(3)]
        for number in range(1, 201):
            for phone in phones:
                phone.sendto(request(phone, one.addresses[0], number), one.addresses[0])
        for phone in phones:
            assert [message.cseq[0] for message in one.take(phone, 200)] == list(range(1, 201))
        assert one.count("datagrams_in") == one.count("datagrams_out") == 600
        assert one.endpoint.sockets[0].datagrams == 600


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on the loopback interface")
def test_two_listeners_of_two_families_record_both_sides():
    """RFC 5658: a Record-Route for each side, the one towards the next hop on top."""
    with edge(lambda one: Verdict(targets=(Target("::1", one.bob.getsockname()[1]),)),
              ("127.0.0.1", "::1")) as one:
        alice, one.bob = one.phone(), one.phone("::1")
        four, six = one.addresses
        alice.sendto(request(alice, four, method="INVITE", body=SDP), four)
        (invite,) = one.take(one.bob, 1)
        first, second = invite.headers("Record-Route")
        assert f"@[::1]:{six[1]}" in first or f"[::1]:{six[1]}" in first
        assert f"127.0.0.1:{four[1]}" in second
        assert f"[::1]:{six[1]}" in invite.headers("Via")[0]
        lines = [("Via", value) for value in invite.headers("Via")]
        lines += [("Record-Route", value) for value in invite.headers("Record-Route")]
        lines += [(name, str(invite.header(name))) for name in ("From", "To", "Call-ID", "CSeq")]
        one.bob.sendto(build("SIP/2.0 180 Ringing", lines), six)
        assert [message.status for message in one.take(alice, 2)] == [100, 180]


def test_an_unreachable_target_fails_over_at_once():
    """An ICMP port unreachable comes back through the error queue, long before try_timeout."""
    with edge(lambda one: Verdict(targets=(Target("127.0.0.3", one.closed), Target("127.0.0.4", one.open)),
                                  try_timeout=60_000)) as one:
        alice, bob = one.phone(), one.phone("127.0.0.4")
        gone = one.phone("127.0.0.3")
        one.closed, one.open = gone.getsockname()[1], bob.getsockname()[1]
        gone.close()
        began = one.loop.time()
        alice.sendto(request(alice, one.addresses[0], method="INVITE", body=SDP), one.addresses[0])
        one.take(bob, 1)
        assert one.loop.time() - began < 20
        assert (one.count("failovers"), one.count("transport_errors"), one.count("network_errors")) == (1, 1, 1)


def test_a_single_unreachable_target_is_answered_at_once():
    with edge(lambda one: Verdict(targets=(Target("127.0.0.3", one.closed),))) as one:
        alice, gone = one.phone(), one.phone("127.0.0.3")
        one.closed = gone.getsockname()[1]
        gone.close()
        began = one.loop.time()
        alice.sendto(request(alice, one.addresses[0], method="INVITE", body=SDP), one.addresses[0])
        assert [message.status for message in one.take(alice, 2)] == [100, 503]
        assert one.loop.time() - began < 20


def test_a_truncated_datagram_is_refused_and_counted():
    with edge(LOCAL, message_limit=1024) as one:
        phone = one.phone()
        phone.sendto(request(phone, one.addresses[0], 1, body=b"x" * 3000), one.addresses[0])
        phone.sendto(request(phone, one.addresses[0], 2), one.addresses[0])
        assert one.take(phone, 1)[-1].cseq[0] in (1, 2)
        one.until(lambda: one.count("datagrams_in") == 2)
        assert one.count("truncated") == 1
        assert one.count("decided") + one.count("decided_by_memo") == 1


def test_what_the_kernel_drops_is_counted():
    with edge(LOCAL, buffer_bytes=4096) as one:
        phone = one.phone()
        data = request(phone, one.addresses[0])
        for _ in range(100):
            phone.sendto(data, one.addresses[0])
        dropped = one.count("kernel_drops")
        assert 0 < dropped < 100
        one.until(lambda: one.count("datagrams_in") == 100 - dropped)


def test_each_message_is_shown_once_to_the_trace():
    with edge(LOCAL) as one:
        shown = []
        one.endpoint.set_trace(lambda *message: shown.append(message))
        phone = one.phone()
        for number in range(1, 101):
            phone.sendto(request(phone, one.addresses[0], number), one.addresses[0])
        answers = one.take(phone, 100)
        assert [message[4] for message in shown if message[0] == "out"] == [bytes(answer.data) for answer in answers]
        assert [message[0] for message in shown].count("in") == 100
        assert {message[2:4] for message in shown} == {phone.getsockname()}


def test_a_broken_trace_costs_no_call(capfd):
    with edge(LOCAL) as one:
        one.endpoint.set_trace(lambda *_: 1 / 0)
        phone = one.phone()
        phone.sendto(request(phone, one.addresses[0]), one.addresses[0])
        assert one.take(phone, 1)[0].status == 200
    assert "trace failed: ZeroDivisionError" in capfd.readouterr().out


def test_binding_what_is_taken_says_what():
    with edge(LOCAL) as one:
        host, port = one.addresses[0]
        with pytest.raises(OSError, match=f"cannot bind udp:{host}:{port}: {os.strerror(98)}"):
            bind_udp(host, port)
