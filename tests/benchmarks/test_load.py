"""The load generator against itself and against peers written here: flows, timers, route sets, failures, counters."""
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks import load
from benchmarks.load import messages

HOST = "127.0.0.4"


def plan(**options: object) -> load.Plan:
    return load.Plan(**{"caller": "127.0.0.2:0", "callee": "127.0.0.3:0"} | options)  # type: ignore[arg-type]


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        sock.settimeout(60)
        yield sock


def address(sock: socket.socket) -> str:
    return f"{HOST}:{sock.getsockname()[1]}"


def header(message: bytes, name: bytes) -> list[bytes]:
    return re.findall(rb"^" + name + rb": (.*)\r$", message, re.MULTILINE)


def respond(request: bytes, status: bytes, *extra: bytes) -> bytes:
    copied = [line for line in request.split(b"\r\n") if re.match(rb"(Via|From|To|Call-ID|CSeq):", line)]
    copied = [line + b";tag=peer" if line.startswith(b"To:") and b";tag=" not in line else line for line in copied]
    return b"\r\n".join([b"SIP/2.0 " + status, *copied, *extra, b"Content-Length: 0", b"", b""])


def in_background(job: load.Load) -> tuple[threading.Thread, list[load.Report]]:
    reports: list[load.Report] = []
    thread = threading.Thread(target=lambda: reports.append(job.run()))
    thread.start()
    return thread, reports


def test_two_thousand_calls_without_a_proxy() -> None:
    report = load.run(plan(window=64, calls=2000, t1=10.0))
    assert report.uac is not None
    assert report.uas is not None
    assert (report.uac.started, report.uac.ok, report.uac.failed, report.uac.timeouts) == (2000, 2000, {}, 0)
    assert (report.uas.answered, report.uas.confirmed, report.uas.ended) == (2000, 2000, 2000)
    assert report.retransmissions == report.lost == report.drops == report.errors == report.oversized == 0
    assert report.uac.malformed == report.uac.strays == report.uac.repeated_finals == 0
    assert report.uas.malformed == report.uas.strays == report.uas.misrouted == report.uas.repeated_requests == 0
    assert report.sent == report.received == 6 * 2000
    assert report.uac.ringing.count == report.uac.ending.count == 2000
    times = report.uac.ringing
    assert 0 < times.p50 <= times.p90 <= times.p99 <= times.p999 <= times.max
    assert report.uac.per_second > 0


def test_lost_messages_are_sent_again() -> None:
    report = load.run(plan(window=64, calls=2000, loss=0.05, t1=0.05))
    assert report.uac is not None
    assert report.uas is not None
    assert (report.uac.ok, report.uac.failed, report.uac.timeouts) == (2000, {}, 0)
    assert (report.uas.answered, report.uas.ended) == (2000, 2000)
    assert 0.03 < report.lost / (report.sent + report.lost) < 0.07
    assert report.uac.retransmitted_invites > 0
    assert report.uac.retransmitted_byes > 0
    assert report.uas.retransmitted_finals > 0
    assert report.uas.repeated_requests > 0
    assert report.uac.repeated_finals > 0


def test_lost_ack_is_repaired_during_the_call() -> None:
    report = load.run(plan(window=64, calls=128, hold=2.5, loss=0.1, t1=0.05))
    assert report.uac is not None
    assert report.uas is not None
    assert (report.uac.ok, report.uas.confirmed) == (128, 128)


def test_refusal_is_counted_and_acknowledged() -> None:
    report = load.run(plan(window=16, calls=500, answer=486, t1=10.0))
    assert report.uac is not None
    assert report.uas is not None
    assert (report.uac.ok, report.uac.failed) == (0, {486: 500})
    assert report.uas.confirmed == 500
    assert report.retransmissions == 0
    assert report.sent == 3 * 500


def test_refusal_is_repeated_until_acknowledged() -> None:
    report = load.run(plan(window=32, calls=500, answer=486, loss=0.1, t1=0.05))
    assert report.uac is not None
    assert report.uas is not None
    assert (report.uac.failed, report.uac.timeouts) == ({486: 500}, 0)
    assert report.uas.retransmitted_finals > 0  # Timer G


def test_open_loop_spaces_calls_evenly() -> None:
    report = load.run(plan(rate=500, calls=101, hold=0.05))
    assert report.uac is not None
    assert report.uac.ok == 101
    assert report.uac.seconds >= 100 / 500 + 0.05
    assert report.uac.lateness >= 0


def test_duration_ends_placing_calls() -> None:
    report = load.run(plan(rate=200, duration=0.25))
    assert report.uac is not None
    assert report.uac.ok == report.uac.started <= 50


def test_invite_without_answer_times_out(peer: socket.socket) -> None:
    report = load.run(plan(role="uac", callee=address(peer), window=1, calls=1, t1=0.005))
    assert report.uac is not None
    assert report.uas is None
    assert (report.uac.ok, report.uac.timeouts, report.uac.retransmitted_invites) == (0, 1, 6)  # 17.1.1.2
    assert report.sent == 7
    assert report.uac.seconds >= 64 * 0.005


def test_two_hundred_without_ack_is_repeated(peer: socket.socket) -> None:
    with load.Load(plan(role="uas", t1=0.005, duration=1.5)) as uas:
        thread, reports = in_background(uas)
        host, _, port = uas.callee.partition(":")
        invite = messages.requests(address(peer), uas.callee)[0]
        peer.sendto(invite, (host, int(port)))
        statuses = [peer.recv(2048).split()[1] for _ in range(12)]
        thread.join()
    assert statuses == [b"180"] + [b"200"] * 11  # 13.3.1.4: T1, doubling to T2, until 64*T1
    assert reports[0].uas is not None
    assert (reports[0].uas.retransmitted_finals, reports[0].uas.unacknowledged) == (10, 1)


def test_response_shows_where_the_request_came_from(peer: socket.socket) -> None:
    with load.Load(plan(role="uas")) as uas:
        thread, _ = in_background(uas)
        host, _, port = uas.callee.partition(":")
        peer.sendto(messages.requests("192.0.2.1:5060", uas.callee)[0], (host, int(port)))
        response = peer.recv(2048)
        uas.stop()
        thread.join()
    assert b";rport=%d;received=127.0.0.4\r\n" % peer.getsockname()[1] in response  # RFC 3581


@pytest.mark.parametrize(
    "lines",
    [
        [b"Record-Route: <sip:%b;lr;n=2>", b"Record-Route: <sip:192.0.2.9;lr;n=1>"],
        [b"Record-Route: <sip:%b;lr;n=2>, <sip:192.0.2.9;lr;n=1>"],
        [b'record-route: "a, b" <sip:%b;lr;n=2> ,\r\n <sip:a,b@192.0.2.9;lr;n=1>;x=y'],
        [],
    ],
)
def test_route_set_is_reversed_and_contact_called(peer: socket.socket, lines: list[bytes]) -> None:
    here = address(peer).encode()
    nearest_last = [line.replace(b"192.0.2.9", b"SWAP").replace(b"%b", b"192.0.2.9").replace(b"SWAP", here)
                    for line in lines]  # fmt: skip
    seen: list[bytes] = []

    def answer() -> None:
        while len(seen) < 3:
            request, caller = peer.recvfrom(2048)
            seen.append(request)
            if request.startswith(b"INVITE"):
                contact = b"m: <sip:there@%b;x=1>" % (b"192.0.2.77" if lines else here)
                peer.sendto(respond(request, b"200 OK", *nearest_last, contact), caller)
            elif request.startswith(b"BYE"):
                peer.sendto(respond(request, b"200 OK"), caller)

    thread = threading.Thread(target=answer)
    thread.start()
    report = load.run(plan(role="uac", callee=address(peer), window=1, calls=1))
    thread.join()
    assert report.uac is not None
    assert report.uac.ok == 1
    invite, ack, bye = seen
    uri = b"sip:there@%b;x=1" % (b"192.0.2.77" if lines else here)
    for request, method in ((ack, b"ACK"), (bye, b"BYE")):
        assert request.startswith(method + b" " + uri + b" SIP/2.0\r\n")
        routes = header(request, b"Route")
        assert [re.findall(rb"n=(\d)", route) for route in routes] == ([[b"1"], [b"2"]] if lines else [])
        assert not lines or here in routes[0]
        assert header(request, b"To")[0].endswith(b";tag=peer")
        assert header(request, b"From") == header(invite, b"From")
        assert header(request, b"Call-ID") == header(invite, b"Call-ID")
    assert header(ack, b"CSeq") == [b"101 ACK"]
    assert header(bye, b"CSeq") == [b"102 BYE"]
    branches = {header(request, b"Via")[0] for request in seen}
    assert len(branches) == 3


def test_ack_of_a_refusal_belongs_to_the_invite(peer: socket.socket) -> None:
    seen: list[bytes] = []

    def answer() -> None:
        request, caller = peer.recvfrom(2048)
        peer.sendto(respond(request, b"503 Full"), caller)
        seen.extend((request, peer.recv(2048)))

    thread = threading.Thread(target=answer)
    thread.start()
    report = load.run(plan(role="uac", callee=address(peer), window=1, calls=1))
    thread.join()
    assert report.uac is not None
    assert report.uac.failed == {503: 1}
    invite, ack = seen
    assert ack.split()[:2] == [b"ACK", invite.split()[1]]  # 17.1.1.3
    assert header(ack, b"Via") == header(invite, b"Via")
    assert header(ack, b"To")[0].endswith(b";tag=peer")


def test_latency_is_that_of_the_answer(peer: socket.socket) -> None:
    delays = [0.02, 0.02, 0.5]

    def answer() -> None:
        for delay in delays:
            request, caller = peer.recvfrom(2048)
            time.sleep(delay)
            peer.sendto(respond(request, b"180 Ringing"), caller)
            peer.sendto(respond(request, b"486 Busy Here"), caller)
            peer.recv(2048)

    thread = threading.Thread(target=answer)
    thread.start()
    report = load.run(plan(role="uac", callee=address(peer), window=1, calls=3, t1=2.0))
    thread.join()
    assert report.uac is not None
    times = report.uac.ringing
    assert times.count == 3
    assert 20_000 <= times.p50 < 500_000
    assert times.p99 == times.max >= 500_000


def test_what_does_not_belong_is_counted(peer: socket.socket) -> None:
    # All of it waits at the sockets before the first call is placed.
    with load.Load(plan(role="both", rate=1, calls=1, hold=0.3)) as job:
        host, _, port = job.caller.partition(":")
        _, _, bye = messages.requests(address(peer), job.callee)
        response = respond(messages.requests(job.caller, job.callee)[0], b"180 Ringing")
        peer.sendto(b"nonsense", (host, int(port)))
        peer.sendto(response.replace(b"Via:", b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\nVia:"), (host, int(port)))
        peer.sendto(response, (host, int(port)))
        host, _, port = job.callee.partition(":")
        peer.sendto(bye.replace(b"  SIP", b" sip:x SIP") + b"To: <sip:x>;tag=1\r\n\r\n", (host, int(port)))
        thread, reports = in_background(job)
        unknown = peer.recv(2048)
        thread.join()
    report = reports[0]
    assert unknown.startswith(b"SIP/2.0 481 ")
    assert report.uac is not None
    assert report.uas is not None
    assert (report.uac.ok, report.uac.malformed, report.uac.strays) == (1, 2, 1)
    assert report.uas.strays == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "rate or a window"),
        ({"rate": 1.0, "window": 1, "calls": 1}, "rate or a window"),
        ({"window": 1}, "number of calls or a duration"),
        ({"window": 1, "calls": 1, "capacity": 1000}, "power of two"),
        ({"window": 65, "calls": 1, "capacity": 64}, "at most the capacity"),
        ({"window": 1, "calls": 1, "loss": 1.0}, "share"),
        ({"window": 1, "calls": 1, "answer": 180}, "final status"),
    ],
)
def test_impossible_plan_is_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        plan(**options)
