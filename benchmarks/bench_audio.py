"""What the relay does with each audio packet besides relaying it.

Every call does 1000 operations in C, so the table's microseconds are nanoseconds an operation.
"""
import struct

from pytest_benchmark.fixture import BenchmarkFixture

from sipcore.media import probe
from sipcore.media.tap import Tap

OPERATIONS = 1000
# A sender report with one block, and an SDES with a name: what phones send every five seconds.
COMPOUND = bytes.fromhex("81c8000c" + "00" * 48 + "81ca0005" + "00000001" + "010d" + "61" * 13 + "00")


def test_reception(benchmark: BenchmarkFixture) -> None:
    assert benchmark(probe.Receiver().receive_often, OPERATIONS) >= 0


def test_rtcp(benchmark: BenchmarkFixture) -> None:
    assert benchmark(probe.read_rtcp_often, COMPOUND, OPERATIONS) == OPERATIONS


def test_player(benchmark: BenchmarkFixture) -> None:
    player = probe.Playing(bytes(160 * 50), 160, loop=True)

    def play() -> int:
        return player.play_often(player.state[2], OPERATIONS)

    assert benchmark(play) > 0


def test_dtmf(benchmark: BenchmarkFixture) -> None:
    assert benchmark(probe.Hearing().hear_often, OPERATIONS) >= 0


def test_tap(benchmark: BenchmarkFixture) -> None:
    """With the drain, which makes a Python object of each packet."""
    tap, packet = Tap(), struct.pack("!BBHII", 128, 0, 1, 2, 3) + bytes(160)

    def turn() -> int:
        probe.tap_put_often(tap, packet, OPERATIONS)
        return len(tap.drain())

    assert benchmark(turn) == OPERATIONS
