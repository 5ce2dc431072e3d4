"""The RTP load generator: by itself, what it notices, and its run through a real edge."""
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from benchmarks import end_to_end_media, media, subjects
from benchmarks.media.streams import Streams
from tests.benchmarks.seats import patient
from tests.edge import wait_until

HOST = "127.0.0.6"
RUN = "-m {} run --config benchmarks/seats/media.toml --listen udp:{{listen}}"


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    opened = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for sock in opened:
        sock.bind((HOST, 0))
    yield opened
    for sock in opened:
        sock.close()


def streams(sockets: list[socket.socket], order: list[int]) -> Streams:
    """Flow i is sent to socket order[i]."""
    return Streams([sock.fileno() for sock in sockets], [sockets[index].getsockname() for index in order], size=172)


def test_ten_calls_without_a_proxy() -> None:
    with media.Load(media.Plan(calls=10)) as load:
        def is_whole() -> bool:
            """Never ahead of the time; what a busy machine keeps from being sent at the end stays away."""
            report = load.run(1.0)
            assert report.sent == report.received <= 2 * 10 * 50 + 20
            assert (report.lost, report.misrouted, report.strange, report.errors) == (0, 0, 0, 0)
            assert report.latency.count == report.received
            if report.sent < 2 * 10 * 25:
                return False
            assert 0 < report.latency.p50 <= report.latency.p99 <= report.latency.max
            return True

        for _ in range(2):
            wait_until(is_whole, "a second of which the machine gave most")


def test_packets_that_come_out_at_the_wrong_place(sockets: list[socket.socket]) -> None:
    found = streams(sockets, [1, 0, 0, 1]).run(0.2, 0.01)
    # One after the other; time may be up amid a round.
    rounds, begun = divmod(found["sent"], 4)
    assert rounds > 0
    assert found["received"] == 2 * rounds + min(begun, 2), "flows 0 and 1 arrive where they should"
    assert found["misrouted"] == 2 * rounds + max(begun - 2, 0), "flows 2 and 3 come back to their senders"


def test_packets_from_another_call_s_port(sockets: list[socket.socket]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
        relay.bind((HOST, 0))
        relay.settimeout(60)
        to_relay = [relay.getsockname(), sockets[0].getsockname()]
        load = Streams([sock.fileno() for sock in sockets], to_relay, size=172)
        found: list[dict[str, int]] = []
        thread = threading.Thread(target=lambda: found.append(load.run(0.2, 0.01)))
        thread.start()
        for _ in range(5):
            relay.sendto(relay.recv(2048), sockets[1].getsockname())
        thread.join()
    assert found[0]["received"] == 0
    assert found[0]["misrouted"] == 5 + found[0]["sent"] // 2, "not from the port that its receiver was told"


def test_packets_that_were_changed(sockets: list[socket.socket]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, 0))
        for size in (20, 172, 400):
            other.sendto(b"x" * size, sockets[0].getsockname())
    found = streams(sockets, [1, 0]).run(0.1, 0.01)
    assert found["strange"] == 3
    assert found["received"] == found["sent"]


def test_what_makes_no_sense(sockets: list[socket.socket]) -> None:
    descriptors = [sock.fileno() for sock in sockets]
    for size in (12, 2000):
        with pytest.raises(ValueError, match="a packet has 24 to 1500 bytes"):
            Streams(descriptors, [(HOST, 1)] * 4, size=size)
    for wrong, targets in ((descriptors[:1], 2), (descriptors, 3), (descriptors, 0)):
        with pytest.raises(ValueError, match="two sockets, and flows in pairs"):
            Streams(wrong, [(HOST, 1)] * targets, size=172)


def test_the_run_through_an_edge(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.end_to_end_media", "--rounds", "1", "--seconds", "1", "--calls", "4"]
    for option, module in (("--edge", "proxy"), ("--busy", "benchmarks.busy")):
        command += [option, patient(f"{sys.executable} {RUN.format(module)}", tmp_path)]
    command += ["--listen", "127.0.0.7:5060", "--no-search", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=subjects.ROOT)
    assert done.returncode == 0, done.stderr
    assert "8 calls, 800 packets/s" in done.stdout
    found = msgspec.json.decode((tmp_path / "end_to_end_media.json").read_bytes())
    samples = msgspec.convert(found["samples"], list[end_to_end_media.Sample])
    assert [(each.subject, each.phase[0]) for each in samples] == [
        ("direct", "4"), ("direct", "8"), ("edge", "4"), ("edge", "8"), ("thread", "4"), ("thread", "8"), ("busy", "4"),
    ]
    assert all(each.lost == 0 and each.per_second > 0 for each in samples)
    assert all((each.cpu > 0) is (each.subject != "direct") for each in samples)
    assert (tmp_path / "end_to_end_media.png").read_bytes().startswith(b"\x89PNG")
