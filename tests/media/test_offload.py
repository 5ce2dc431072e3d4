"""Streams in the kernel's hands: that it has them, what it leaves to the thread, and that it gives them back whole.

That nobody notices is what the relay's other tests show, which are run with the kernel too. Long because each thing
that the program has to leave alone, and each kind of way out, is a test of its own on the same stage.
"""
import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipcore.media import offload_program
from sipcore.media.offload_program import Program
from sipcore.media.packet import Packet
from sipcore.media.ports import PortPool
from sipcore.media.relay import DTMF, HEARD_AGAIN, LATCHED, PLAYED, SILENT
from sipcore.media.tap import Tap
from tests.media.stage import HOST, Phone, Stage, numbers, receiver_report, rtp, until
from tests.security.namespace import Namespace

FRAMES = bytes(800)


@pytest.fixture(autouse=True)
def _with_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    if why := offload_program.problem():
        pytest.skip(why)
    monkeypatch.setattr(Stage, "offloads", True)


def two_phones(stage: Stage) -> tuple[int, Phone, Phone, list[tuple[str, int]]]:
    one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
    session, where = stage.session(one, two, event_payload=101)
    return session, one, two, where


def offloaded(stage: Stage) -> int:
    return stage.relay.totals()["offloaded"]


def settle(stage: Stage, session: int, one: Phone, two: Phone, where: list[tuple[str, int]], *, first: int = 1) -> None:
    """Have both streams go on until the kernel has them: two packets each, the last one with the number first.

    Learning the second source makes the first stream the thread's once more.
    """
    for n in (first - 1, first):
        one.send(rtp(n, n * 160, ssrc=1), where[0])
        assert numbers(two.receive())[0] == n
        two.send(rtp(n, n * 160, ssrc=2), where[1])
        assert numbers(one.receive())[0] == n
    until(lambda: offloaded(stage) == 2, "the kernel has both streams")


def test_what_the_kernel_passes_on_wakes_nobody() -> None:
    with Stage(watch_ms=60_000) as stage:
        session, one, two, where = two_phones(stage)
        settle(stage, session, one, two, where)
        before = stage.relay.totals()["wakeups"]
        for n in range(2, 502):
            one.send(rtp(n, n * 160, ssrc=1, marker=n % 7 == 0, payload=bytes([n & 0xFF]) * (n % 300)), where[0])
            assert two.receive_from() == (
                rtp(n, n * 160, ssrc=1, marker=n % 7 == 0, payload=bytes([n & 0xFF]) * (n % 300)), where[1])
        assert stage.relay.totals()["wakeups"] - before < 20
        expected = sum(12 + n % 300 for n in range(2, 502)) + 344
        stage.counted(session, 0, packets=502, octets=expected, lost=0, out_of_order=0, ssrc=1, sent=2)
        stage.counted(session, 1, packets=2, sent=502, sent_octets=expected)
        stage.end(session)
        # What the kernel has counted stays when the session goes.
        totals = stage.relay.totals()
        assert (totals["packets"], totals["octets"], totals["sent"]) == (504, expected + 344, 504)
        assert totals["offloaded"] == 0


def test_loss_and_order_are_counted_as_by_the_thread() -> None:
    sequences = [2, 3, 5, 4, 4, 9, 12, 11, 13, 65000, 14, 15]

    def figures(**settings: int) -> dict[str, int]:
        with Stage(**settings) as stage:
            session, one, two, where = two_phones(stage)
            one.send(rtp(1, 160), where[0])
            two.receive()
            for n in sequences:
                one.send(rtp(n, n * 160), where[0])
                two.receive()
            stage.counted(session, 0, packets=len(sequences) + 1)
            assert (stage.relay.totals()["offloads"] > 0) == (settings["settled"] == 1)
            found = stage.relay.side_counters(session, 0)
            return {name: found[name] for name in ("packets", "octets", "lost", "out_of_order", "duplicates", "ssrc")}

    by_kernel = figures(settled=1)
    assert by_kernel == figures(settled=200)
    assert (by_kernel["lost"], by_kernel["out_of_order"], by_kernel["duplicates"]) == (4, 2, 1)


def test_what_the_thread_has_to_see_comes_to_it() -> None:
    with Stage(silence_ms=0) as stage:
        session, one, two, where = two_phones(stage)
        settle(stage, session, one, two, where)
        stranger = stage.phone("127.3.0.1")
        stranger.send(rtp(2, ssrc=1), where[0])
        stage.counted(session, 0, wrong_source=1)
        for junk, counter in ((b"\0\1" + bytes(18), "stun"), (b"\x14" + bytes(19), "dtls"), (b"\x80\x08", "truncated"),
                              (b"\xff" * 20, "other"), (rtp(3, payload=bytes(2100)), "giant")):
            one.send(junk, where[0])
            stage.counted(session, 0, **{counter: 1})
        one.control.sendto(receiver_report(1), (where[0][0], where[0][1] + 1))
        assert two.control.recv(100) == receiver_report(1)
        assert offloaded(stage) == 2
        assert two.is_quiet()
        # A telephone event is reported and passed on; then the stream settles anew.
        event = rtp(2, 320, ssrc=1, payload_type=101, marker=True, payload=bytes([5, 0x8A, 3, 32]))
        one.send(event, where[0])
        assert two.receive() == event
        assert stage.wait_for(DTMF)[4] >> 32 == 5
        stage.counted(session, 0, packets=3)
        one.send(rtp(3, 480, ssrc=1), where[0])
        assert two.receive() == rtp(3, 480, ssrc=1)
        stage.counted(session, 0, packets=4)


def test_another_stream_of_the_same_source_goes_on() -> None:
    with Stage() as stage:
        session, one, two, where = two_phones(stage)
        settle(stage, session, one, two, where)
        for ssrc, n in ((77, 9000), (77, 9001), (77, 9002), (1, 40), (1, 41)):
            one.send(rtp(n, ssrc=ssrc), where[0])
            assert two.receive() == rtp(n, ssrc=ssrc)
        stage.counted(session, 0, packets=7, ssrc=1)


def test_a_stream_that_was_interrupted_keeps_its_numbers_in_the_kernel() -> None:
    with Stage() as stage:
        session, one, two, where = two_phones(stage)
        settle(stage, session, one, two, where)
        for n in range(2, 10):
            two.send(rtp(n, n * 160, ssrc=2), where[1])
            assert one.receive() == rtp(n, n * 160, ssrc=2)
        assert stage.relay.play(session, 0, FRAMES, payload=8)
        played = [numbers(one.receive()) for _ in range(5)]
        assert [n[0] for n in played] == [10, 11, 12, 13, 14]
        assert {n[2] for n in played} == {2}
        stage.wait_for(PLAYED)
        before = stage.relay.totals()["offloads"]
        two.send(rtp(500, 80_000, ssrc=2), where[1])
        first = numbers(one.receive())
        assert (first[0], first[2], first[4]) == (15, 2, True)
        until(lambda: stage.relay.totals()["offloads"] == before + 1, "it has settled again")
        woken = stage.relay.totals()["wakeups"]
        for n in range(1, 200):
            two.send(rtp(500 + n, 80_000 + n * 160, ssrc=2), where[1])
            assert numbers(one.receive()) == (15 + n, first[1] + n * 160, 2, 8, False)
        assert stage.relay.totals()["wakeups"] - woken < 50
        # What is played next goes on where the kernel had come to.
        assert stage.relay.play(session, 0, FRAMES, payload=8)
        assert numbers(one.receive())[0] == 215


def test_payload_types_are_replaced_in_the_kernel_and_other_ones_come_to_the_thread() -> None:
    with Stage(watch_ms=60_000) as stage:
        session, one, two, where = two_phones(stage)
        stage.relay.map_payloads(session, 1, {101: 96, 8: 9})
        settle(stage, session, one, two, where)
        woken = stage.relay.totals()["wakeups"]
        for n in range(2, 200):
            one.send(rtp(n, n * 160, ssrc=1, marker=n % 5 == 0), where[0])
            assert numbers(two.receive()) == (n, n * 160, 1, 9, n % 5 == 0)
        assert stage.relay.totals()["wakeups"] - woken < 20
        one.send(rtp(200, ssrc=1, payload_type=13), where[0])
        assert numbers(two.receive()) == (200, 0, 1, 13, False)
        assert stage.relay.totals()["wakeups"] > woken
        one.send(rtp(201, ssrc=1, payload_type=101, payload=bytes([5, 0x8A, 3, 32])), where[0])
        assert numbers(two.receive())[3] == 96
        assert stage.wait_for(DTMF)[4] >> 32 == 5


def test_what_is_converted_stays_with_the_thread() -> None:
    with Stage() as stage:
        session, one, two, where = two_phones(stage)
        stage.relay.map_payloads(session, 1, {8: 0}, laws={8: "PCMU"})
        for n in range(20):
            one.send(rtp(n, ssrc=1), where[0])
            assert numbers(two.receive())[3] == 0
        assert offloaded(stage) == 0


def test_silence_is_noticed_and_its_end() -> None:
    with Stage(silence_ms=60, watch_ms=20) as stage:
        session, one, two, where = two_phones(stage)
        settle(stage, session, one, two, where)
        assert {stage.wait_for(SILENT)[3], stage.wait_for(SILENT)[3]} == {0, 1}
        one.send(rtp(2, ssrc=1), where[0])
        assert two.receive() == rtp(2, ssrc=1)
        assert stage.wait_for(HEARD_AGAIN)[3] == 0


def test_a_packet_that_comes_while_the_thread_looks_is_no_silence() -> None:
    """The kernel takes the time of its packets later than the thread that of its look at all of its sessions."""
    with Stage(silence_ms=60_000, watch_ms=20) as stage:
        session, one, two, where = two_phones(stage)
        settle(stage, session, one, two, where)
        packet = rtp(2, ssrc=1)
        for _ in range(100_000):
            one.send(packet, where[0])
        assert [event for event in stage.relay.take_events() if event[0] == SILENT] == []


def test_no_packet_goes_uncounted_where_a_stream_is_taken_back() -> None:
    with Stage(silence_ms=0) as stage:
        session, one, two, where = two_phones(stage)
        settle(stage, session, one, two, where)
        event = rtp(2, ssrc=1, payload_type=101, payload=bytes([5, 10, 0, 160]))
        sent = 2
        for _ in range(2000):
            # The thread takes the stream back for the first one while the kernel passes on the others.
            for packet in (event, *[rtp(2, ssrc=1)] * 12):
                one.send(packet, where[0])
            for _ in range(13):
                two.receive()
            sent += 13
        stage.counted(session, 0, packets=sent)
        stage.counted(session, 1, sent=sent)


def test_a_sign_of_life_may_be_younger_than_a_packet() -> None:
    with Stage(watch_ms=60_000) as stage:
        session, one, two, where = two_phones(stage)
        settle(stage, session, one, two, where)
        assert stage.program is not None
        stage.program.beat[:8] = struct.pack("=Q", time.monotonic_ns() + 100_000_000)
        before = stage.relay.totals()["offloads"]
        one.send(rtp(2, ssrc=1), where[0])
        assert two.receive() == rtp(2, ssrc=1)
        stage.counted(session, 0, packets=3)
        assert stage.relay.totals()["offloads"] == before


def test_a_source_that_moves_within_its_host_is_judged_by_what_the_kernel_has_heard() -> None:
    with Stage(learn_ms=1) as stage:
        session, one, two, where = two_phones(stage)
        settle(stage, session, one, two, where)
        moved = stage.phone("127.1.0.1")
        # The stream goes on, so a second one with its SSRC is nobody's, however long ago the thread has heard it.
        for n in range(2, 40):
            one.send(rtp(n, ssrc=1), where[0])
            assert two.receive() == rtp(n, ssrc=1)
            moved.send(rtp(n, ssrc=1), where[0])
            stage.counted(session, 0, wrong_source=n - 1)
        assert two.is_quiet()


def test_a_capture_has_every_packet() -> None:
    tap = Tap()
    with Stage(tap=tap) as stage:
        session, one, two, where = two_phones(stage)
        settle(stage, session, one, two, where)
        stage.relay.capture(session)
        for n in range(2, 12):
            one.send(rtp(n, ssrc=1), where[0])
            assert two.receive() == rtp(n, ssrc=1)
        captured: list[Packet] = []

        def is_whole() -> bool:
            captured.extend(tap.drain())
            return len(captured) == 20

        until(is_whole, "each packet in and out")
        assert offloaded(stage) == 0
        stage.relay.capture(session, False)
        settle(stage, session, one, two, where, first=13)


@pytest.mark.parametrize("change", [
    "route {} local 127.250.0.0/16 dev lo", "rule {} from 203.0.113.99 table 99",
    "-6 rule {} from 2001:db8::99 table 99"])
def test_new_routes_make_every_stream_the_threads_again(change: str) -> None:
    with Stage(watch_ms=20, silence_ms=0) as stage:
        session, one, two, where = two_phones(stage)
        settle(stage, session, one, two, where)
        subprocess.run(["ip", *change.format("add").split()], check=True)
        try:
            until(lambda: offloaded(stage) == 0, "both streams are the thread's")
            settle(stage, session, one, two, where, first=3)
        finally:
            subprocess.run(["ip", *change.format("delete").split()], check=True)


def test_ipv6() -> None:
    pool = PortPool("::1", 20000, 20099, quarantine=0)
    with Stage(pool) as stage:
        one, two = stage.phone("::1"), stage.phone("::1")
        session, where = stage.session(one, two)
        settle(stage, session, one, two, where)
        woken = stage.relay.totals()["wakeups"]
        for n in range(2, 300):
            one.send(rtp(n, ssrc=1), where[0])
            assert two.receive_from() == (rtp(n, ssrc=1), where[1])
        assert stage.relay.totals()["wakeups"] - woken < 50
        stage.counted(session, 0, packets=300)


def test_room_for_ports_is_bounded_and_an_address_is_taken_once() -> None:
    program = Program([HOST], 60)
    try:
        assert program.interfaces == [1]
        assert program.add(HOST, 20000, 50) == 0
        assert program.add(HOST, 30000, 10) == -1
        assert program.add("0.0.0.0", 20000, 10) == -1
        assert program.add("127.0.0.9", 20000, 11) == -1
        assert program.add("127.0.0.9", 20000, 10) == 50
    finally:
        program.close()


@pytest.mark.parametrize(("rights", "found"), [
    ("-all,+bpf,+net_admin", ""),
    ("-all", "the kernel's part cannot be had: cannot make a map: Operation not permitted"),
    ("-all,+bpf", "the kernel's part cannot be had: cannot load it: Operation not permitted")])
def test_the_rights_that_it_needs(rights: str, found: str) -> None:
    code = ("from sipcore.media.offload_program import Program, problem; print(problem()); "
            "[Program(['127.0.0.1'], 10, filters=filters).close() for filters in (False, True) if not problem()]")
    assert subprocess.check_output(
        ["setpriv", "--bounding-set", rights, "--inh-caps", rights, sys.executable, "-c", code],
        cwd=Path(__file__).parents[2], text=True) == found + "\n"


# A relay as a filter at the interface that is killed in the middle of a call, as nothing it can do anything about.
KILLED = """
import sys
from sipcore.media.offload_program import Program
from sipcore.media.ports import PortPool
from tests.media.stage import Stage
pool = PortPool(sys.argv[1], 20000, 20099, quarantine=0)
program = Program([sys.argv[1]], pool.pairs, filters=True)
stage = Stage(pool, program=program)
session = stage.relay.open()
where = []
for side, port in enumerate(map(int, sys.argv[2:])):
    where.append(stage.relay.bind(session, side, 0))
    stage.relay.set_aim(session, side, rtp=("127.1.0.1", port))
stage.relay.set_hearing(session, {0: [1], 1: [0]})
print(*where, flush=True)
for line in sys.stdin:
    print(stage.relay.totals()["offloaded"], flush=True)
"""


@pytest.fixture
def killed() -> Iterator[tuple[Phone, Phone, list[tuple[str, int]]]]:
    """Two phones whose relay was killed while the kernel passed on what the first one says."""
    one, two = Phone("127.1.0.1"), Phone("127.1.0.1")
    process = subprocess.Popen([sys.executable, "-c", KILLED, HOST, str(one.address[1]), str(two.address[1])],
                               cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        asking, answers = process.stdin, process.stdout
        assert asking is not None
        assert answers is not None

        def has_it() -> bool:
            asking.write("?\n")
            asking.flush()
            return answers.readline() == "1\n"

        where = [(HOST, int(port)) for port in answers.readline().split()]
        # A packet that was sent before the thread had handed the stream over takes it back: so it is asked.
        for n in range(20):
            one.send(rtp(n), where[0])
            assert two.receive() == rtp(n)
        until(has_it, "the kernel has the stream")
        process.kill()
        process.communicate()
        # The program is still there.
        one.send(rtp(20), where[0])
        assert two.receive() == rtp(20)
        yield one, two, where
    finally:
        process.kill()
        process.wait()
        one.close()
        two.close()


def test_the_filter_of_a_relay_that_was_killed_passes_nothing_on_for_long(
        killed: tuple[Phone, Phone, list[tuple[str, int]]]) -> None:
    one, two, where = killed

    def is_over() -> bool:
        one.send(rtp(21), where[0])
        two.socket.settimeout(0.2)
        try:
            two.receive()
        except TimeoutError:
            return True
        return False

    until(is_over, "nothing passes")
    # The next one takes its place at the interface, and takes it away with itself.
    list_filters = ["tc", "filter", "show", "dev", "lo", "ingress"]
    program = Program([HOST], 10, filters=True)
    assert subprocess.check_output(list_filters, text=True).count("direct-action") == 1
    program.close()
    assert subprocess.check_output(list_filters) == b""


def udp_datagram(source: tuple[str, int], target: tuple[str, int], payload: bytes) -> bytes:
    """An IP packet with its checksums right, as it is on a wire."""
    def checksum(data: bytes) -> int:
        total: int = sum(struct.unpack(f">{len(data + b'x') // 2}H", data + b"\0" * (len(data) % 2)))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        return ~total & 0xFFFF

    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    hosts = socket.inet_pton(family, source[0]) + socket.inet_pton(family, target[0])
    length = 8 + len(payload)
    udp = struct.pack(">HHHH", source[1], target[1], length, 0) + payload
    udp = udp[:6] + struct.pack(">H", checksum(hosts + struct.pack(">II", length, 17) + udp)) + udp[8:]
    if family == socket.AF_INET6:
        return struct.pack(">IHBB", 0x60000001, length, 17, 3) + hosts + udp
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 1, 0x4000, 3, 17, 0) + hosts
    return ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:] + udp


OUTSIDE, INSIDE = "tooffload", "fromoffload"
EDGE, FIRST, SECOND = "203.0.113.1", "203.0.113.11", "203.0.113.12"
EDGE6, FIRST6, SECOND6 = "2001:db8::1", "2001:db8::11", "2001:db8::12"


@pytest.fixture
def machines() -> Iterator[Namespace]:
    """A namespace that stands for other machines, FIRST and SECOND, at the other end of an interface with EDGE;
    each of them with both versions of IP."""
    far = Namespace()

    def ip(command: str) -> None:
        subprocess.run(["ip", *command.split()], check=True)

    try:
        # Without addresses of its own that come later: they would make the streams the thread's again.
        ip(f"link add {OUTSIDE} type veth peer name {INSIDE} netns /proc/{os.getpid()}/fd/{far.descriptor}")
        ip(f"link set {OUTSIDE} addrgenmode none")
        ip(f"address add {EDGE}/24 dev {OUTSIDE}")
        ip(f"address add {EDGE6}/64 dev {OUTSIDE} nodad")
        ip(f"link set {OUTSIDE} up")
        with far.entered():
            for host in (FIRST, SECOND):
                ip(f"address add {host}/24 dev {INSIDE}")
            for host in (FIRST6, SECOND6):
                ip(f"address add {host}/64 dev {INSIDE} nodad")
            ip(f"link set {INSIDE} addrgenmode none")
            ip(f"link set {INSIDE} up")
        yield far
        ip(f"link delete {OUTSIDE}")
    finally:
        far.close()


@pytest.mark.parametrize(("filters", "edge", "first", "second", "protocol"), [
    (False, EDGE, FIRST, SECOND, 0x0800), (True, EDGE, FIRST, SECOND, 0x0800),
    (False, EDGE6, FIRST6, SECOND6, 0x86DD)])
def test_between_two_other_machines(machines: Namespace, filters: bool, edge: str, first: str, second: str,
                                    protocol: int) -> None:
    """What comes in by an interface leaves by it, to the hardware address of the next hop and with a checksum that the
    receiver's kernel accepts."""
    pool = PortPool(edge, 20000, 20099, quarantine=0)
    with contextlib.ExitStack() as stack:
        program = stack.enter_context(contextlib.closing(Program([edge], pool.pairs, filters=filters)))
        here = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM))
        here.bind((OUTSIDE, 0))
        hardware = here.getsockname()[4]
        with machines.entered():
            one, two = (stack.enter_context(contextlib.closing(Phone(host))) for host in (first, second))
            wire = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM))
        stage = stack.enter_context(Stage(pool, program=program))
        assert len(program.interfaces) == 2
        session, where = stage.session(one, two)
        settle(stage, session, one, two, where)
        woken = stage.relay.totals()["wakeups"]
        for n in range(2, 300):
            packet = rtp(n, ssrc=1, payload=bytes([n & 0xFF]) * (n % 200))
            if n % 2:
                one.send(packet, where[0])
            else:
                wire.sendto(udp_datagram(one.address, where[0], packet), (INSIDE, protocol, 0, 0, hardware))
            assert two.receive_from() == (packet, where[1])
        assert stage.relay.totals()["wakeups"] - woken < 50
        stage.counted(session, 0, packets=300)
        # What is seen on its way to another machine is nobody's, and what is sent to all of them the thread's.
        packet = rtp(300, ssrc=1)
        for address in (bytes([2, 0, 0, 0, 0, 9]), b"\xff" * 6):
            wire.sendto(udp_datagram(one.address, where[0], packet), (INSIDE, protocol, 0, 0, address))
        assert two.receive() == packet
        stage.counted(session, 0, packets=301)
        settle(stage, session, one, two, where, first=302)
        # What is in another virtual network, or shorter than it says, is nobody's.
        datagram = udp_datagram(one.address, where[0], packet)
        wire.sendto(struct.pack(">HH", 5, protocol) + datagram, (INSIDE, 0x8100, 0, 0, hardware))
        wire.sendto(datagram[:-1], (INSIDE, protocol, 0, 0, hardware))
        wire.sendto(datagram, (INSIDE, protocol, 0, 0, hardware))
        assert two.receive() == packet
        stage.counted(session, 0, packets=304)
        assert two.is_quiet()


def test_a_source_behind_an_interface_without_the_program_stays_with_the_thread(machines: Namespace) -> None:
    pool = PortPool(EDGE, 20000, 20099, quarantine=0)

    def ip(command: str) -> None:
        subprocess.run(["ip", *command.split()], check=True)

    ip(f"link add otheroutside type veth peer name otherinside netns /proc/{os.getpid()}/fd/{machines.descriptor}")
    ip("address add 198.18.5.1/24 dev otheroutside")
    ip("link set otheroutside up")
    try:
        with machines.entered():
            ip("address add 198.18.5.11/24 dev otherinside")
            ip("link set otherinside up")
            ip("rule add from 198.18.5.11 table 77")
            ip("route add default via 198.18.5.1 table 77")
        with Stage(pool) as stage:
            with machines.entered():
                one, two = stage.phone("198.18.5.11"), stage.phone(SECOND)
            _, where = stage.session(one, two)
            for n in range(4):
                one.send(rtp(n, ssrc=1), where[0])
                assert two.receive() == rtp(n, ssrc=1)
                two.send(rtp(n, ssrc=2), where[1])
                assert one.receive() == rtp(n, ssrc=2)
            assert stage.relay.totals()["offloads"] == 0
    finally:
        ip("link delete otheroutside")


def test_the_addresses_of_a_source_are_learned_before_the_kernel_has_it() -> None:
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two, active=False)
        one.send(rtp(1), where[0])
        stage.counted(session, 0, early=1)
        assert offloaded(stage) == 0
        stage.relay.set_aim(session, 0, rtp=one.address)
        stage.relay.set_aim(session, 1, rtp=two.address)
        settle(stage, session, one, two, where)
        assert [stage.wait_for(LATCHED)[3] for _ in range(2)] == [0, 1]
