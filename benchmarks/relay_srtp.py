"""What SRTP costs the relay's thread: its core-seconds per million packets between plain and secure sides.

Packets are protected before, so that a round measures the relay alone: streams of 20 ms G.711 in lockstep, one packet
of each and then what came out, both ways. A figure is the median of the rounds; `more` is what it is over plain RTP.
"""
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Annotated

import typer

from sipcore.media.ports import PortPool
from sipcore.media.relay import CLOSED, MediaRelay
from sipcore.media.srtpkey import NAMES, key_size
from sipcore.media.srtpprobe import SrtpProbe

HOST = "127.0.0.1"
NAMED_SECONDS = 1.0
"""In which the relay's thread has given itself its name."""
WAYS = {"RTP to RTP": (False, False), "SRTP to RTP": (True, False), "RTP to SRTP": (False, True),
        "SRTP to SRTP": (True, True)}


def key(suite: str, seed: int) -> bytes:
    return bytes((seed + 7 * i) % 256 for i in range(key_size(suite)))


def packets(suite: str, secure: bool, stream: int, n: int) -> list[bytes]:
    """What a source sends."""
    seal = SrtpProbe(suite, key(suite, 1), True)
    plain = (struct.pack(">BBHII", 0x80, 8, seq, 160 * seq, stream) + bytes(160) for seq in range(n))
    return [seal.protect(packet) if secure else packet for packet in plain]


def thread_seconds() -> float:
    """What the relay's thread has used of its core."""
    end = time.monotonic() + NAMED_SECONDS
    while time.monotonic() < end:
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/comm") as comm:
                name = comm.read().strip()
            if name == "sipedge-media":
                with open(f"/proc/self/task/{task}/schedstat") as stat:
                    return int(stat.read().split()[0]) / 1e9
        time.sleep(0.001)
    raise RuntimeError("the relay has no thread")


def run(suite: str, ways: tuple[bool, bool], streams: int, n: int) -> float:
    """Core-seconds per million packets of one round."""
    relay = MediaRelay([PortPool(HOST, 22000, 22000 + 8 * streams + 7, quarantine=0)], sessions=2 * streams)
    ends = [(socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)) for _ in range(streams)]
    sending: list[Callable[[bytes], int]] = []
    sessions, texts = [], []
    for number, pair in enumerate(ends):
        session = relay.open()
        sessions.append(session)
        for side, end in enumerate(pair):
            end.bind((HOST, 0))
            end.settimeout(5)
            end.connect((HOST, relay.bind(session, side, 0)))
            if ways[side]:
                relay.set_keys(session, side, (suite, key(suite, 1)), (suite, key(suite, 2)))
            relay.set_aim(session, side, rtp=end.getsockname(), secure=ways[side])
        relay.set_hearing(session, {0: [1], 1: [0]})
        sending.append(pair[0].send)
        texts.append(packets(suite, ways[0], number + 1, n))
    rounds: Iterator[tuple[bytes, ...]] = zip(*texts, strict=True)
    begun = thread_seconds()
    for step in rounds:
        for send, packet in zip(sending, step, strict=True):
            send(packet)
        for _, listener in ends:
            listener.recv(2048)
    used = thread_seconds() - begun
    for session in sessions:
        relay.close(session)
    closed = 0
    while closed < streams:
        closed += sum(event[0] == CLOSED for event in relay.take_events())
    relay.stop()
    for pair in ends:
        for end in pair:
            end.close()
    return used / (streams * n) * 1e6


def main(
    suite: Annotated[str, typer.Option(help="The suite of secure sides.")] = "AES_CM_128_HMAC_SHA1_80",
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    streams: Annotated[int, typer.Option(min=1, max=200)] = 50,
    packets: Annotated[int, typer.Option(min=1, max=65_000, help="Of each stream in a round.")] = 2000,
) -> None:
    """Measure what the relay takes for a million packets, with and without SRTP."""
    if suite not in NAMES:
        raise typer.BadParameter(f"not one of {', '.join(NAMES)}")
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, ways in WAYS.items():
            found[name].append(run(suite, ways, streams, packets))
    plain = median(found["RTP to RTP"])
    for name, figures in found.items():
        middle = median(figures)
        print(f"{name:13} {middle:6.2f} core-seconds per million packets, {min(figures):.2f} to {max(figures):.2f}; "
              f"more: {middle - plain:5.2f}")


if __name__ == "__main__":
    typer.run(main)
