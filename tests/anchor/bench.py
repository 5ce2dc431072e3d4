"""A proxy that anchors media on real ports of 127.0.0.1, between scripted phones whose audio are real sockets."""
import select
import socket
import struct
from collections.abc import Iterable

from sipcore.anchor.anchor import Anchor
from sipcore.media.ports import PortPool
from sipcore.media.relay import MediaRelay
from sipcore.stack.verdict import Verdict
from sipcore.wire.sdp import Sdp
from tests.endpoints import EDGE, Bench, Dialog, Received

AUDIO, VIDEO, IMAGE, TEXT = 1, 2, 3, 5
SIGNALLED_FIRST = 1
REFUSE, PASS = 0, 1
WAIT = 60.0
"""Seconds that a packet over loopback may take before a test fails; it is not waited for where it comes."""


def sdp(host: str, port: int, *more: str, family: int = 4, version: int = 1, media: str = "RTP/AVP 0 101") -> bytes:
    """A description of one audio section."""
    lines = ["v=0", f"o=- 7 {version} IN IP{family} {host}", "s=-", f"c=IN IP{family} {host}", "t=0 0",
             f"m=audio {port} {media}", *more]
    return "".join(f"{line}\r\n" for line in lines).encode()


SDP_TYPE = (("Content-Type", "application/sdp"),)
ALICE, BOB = "127.0.0.2", "127.0.0.3"


class Talker:
    """One end of an audio stream: a socket that sends RTP packets and waits for them."""

    def __init__(self, host: str, port: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, port))
        self.host, self.port = self.socket.getsockname()[:2]
        self.seq = 100

    def packet(self, text: bytes) -> bytes:
        self.seq += 1
        return struct.pack("!BBHII", 0x80, 0, self.seq, self.seq * 160, 0x1000 + self.port) + text

    def say(self, text: bytes, to: tuple[str, int]) -> bytes:
        data = self.packet(text)
        self.socket.sendto(data, to)
        return data

    def report(self, to: tuple[str, int]) -> bytes:
        """Send an empty receiver report (RFC 3550 6.4.2)."""
        data = struct.pack("!BBHI", 0x80, 201, 1, 0x1000 + self.port)
        self.socket.sendto(data, to)
        return data

    def hear(self) -> bytes:
        """The next packet; an error where none comes."""
        ready, _, _ = select.select([self.socket], [], [], WAIT)
        assert ready, f"{self.host}:{self.port} heard nothing"
        return self.socket.recv(4096)

    def heard_nothing(self) -> bool:
        return not select.select([self.socket], [], [], 0)[0]

    def close(self) -> None:
        self.socket.close()


def edge_of(message: Received, section: int = 0) -> tuple[str, int]:
    """Where the description in a message says that media goes."""
    media = Sdp(message.message.body).media[section]
    return media.connection, media.port


class AnchorBench(Bench):
    """pools: PortPools, the first for every listener unless pools_of says otherwise."""

    def __init__(self, *, kinds: Iterable[int] = (AUDIO,), other: int = REFUSE, pools: Iterable[PortPool] = (),
                 pools_of: Iterable[Iterable[int]] | None = None, listeners: Iterable[tuple[str, int]] = (EDGE,),
                 sessions: int = 8, learning: int = SIGNALLED_FIRST, calls: int = 8, srtp: tuple[int, int] = (0, 0),
                 suites: Iterable[str] = (), plain_listeners: Iterable[int] = (), **options) -> None:
        listeners = list(listeners)
        self.pools = list(pools) or [PortPool("127.0.0.1", 21000, 21099, quarantine=0)]
        self.relay = MediaRelay(self.pools, sessions=sessions)
        self.anchor = Anchor(self.relay, calls)
        self.anchor.configure(pools_of or [range(len(self.pools))] * len(listeners),
                              [(learning, sum(1 << kind for kind in kinds), other, False, srtp)], suites,
                              tuple(plain_listeners))
        self.talkers: list[Talker] = []
        options.setdefault("verdict", Verdict(anchor=1))
        super().__init__(media=self.anchor, listeners=listeners, **options)

    def talker(self, host: str, port: int = 0) -> Talker:
        self.talkers.append(Talker(host, port))
        return self.talkers[-1]

    def await_free_ports(self) -> None:
        """The thread has closed every socket of a session that was closed, and the ports are back."""
        while sum(pool.used for pool in self.pools) or self.relay.open_sessions:
            ready, _, _ = select.select([self.relay.fileno()], [], [], WAIT)
            assert ready, (f"{[pool.used for pool in self.pools]} pairs of ports and "
                           f"{self.relay.open_sessions} sessions did not come back")
            self.relay.take_events()
        assert self.anchor.live == 0

    def empty(self, ms: int = 300_000, dialogs: int = 0) -> None:
        super().empty(ms, dialogs)
        self.await_free_ports()

    def close(self) -> None:
        self.relay.stop()
        for talker in self.talkers:
            talker.close()


class Call:
    """Two phones with audio, and what the edge told each of them."""

    def __init__(self, bench: AnchorBench, *, alice_host: str = ALICE, bob_host: str = BOB) -> None:
        self.bench = bench
        self.alice, self.bob = bench.phone("alice", alice_host), bench.phone("bob", bob_host)
        self.at_alice, self.at_bob = bench.talker(alice_host), bench.talker(bob_host)
        self.edge_alice = self.edge_bob = ("", 0)
        self.dialogs: tuple[Dialog, Dialog]

    def offer(self, *more: str, media: str = "RTP/AVP 0 101", version: int = 1) -> bytes:
        return sdp(self.at_alice.host, self.at_alice.port, *more, media=media, version=version)

    def answer(self, *more: str, media: str = "RTP/AVP 0 101", version: int = 1) -> bytes:
        return sdp(self.at_bob.host, self.at_bob.port, *more, media=media, version=version)

    def invited(self, offer: bytes | None = None) -> Received:
        """Alice sends an INVITE with an offer; as it comes to Bob."""
        self.alice.request("INVITE", self.bob.uri, headers=SDP_TYPE, body=offer or self.offer())
        self.bench.run()
        invite = self.bob.take("INVITE")
        self.edge_bob = edge_of(invite)
        return invite

    def early_of_another(self, invite: Received, talker: Talker, headers: Iterable[tuple[str, str]] = SDP_TYPE) -> None:
        """Of a fork, "one", comes an answer before the call is answered: it hears Alice."""
        self.bob.answer(invite, 183, tag="one", headers=headers, body=sdp(talker.host, talker.port))
        self.bench.run()
        self.edge_alice = edge_of(self.alice.take("100", "183"))
        said = self.at_alice.say(b"early", self.edge_alice)
        assert talker.hear() == said

    def ring(self, offer: bytes | None = None, answer: bytes | None = None) -> "Call":
        """INVITE with an offer, 200 with an answer, ACK."""
        invite = self.invited(offer)
        self.bob.answer(invite, 200, headers=SDP_TYPE, body=answer or self.answer())
        self.bench.run()
        answered = self.alice.take("100", "200")
        self.edge_alice = edge_of(answered)
        self.dialogs = self.alice.caller_dialog(answered), self.bob.callee_dialog(invite)
        self.dialogs[0].send("ACK")
        self.bench.run()
        self.bob.take("ACK")
        return self

    def talk(self) -> None:
        """Both hear what the other says, byte for byte."""
        said = self.at_alice.say(b"from alice", self.edge_alice)
        assert self.at_bob.hear() == said
        said = self.at_bob.say(b"from bob", self.edge_bob)
        assert self.at_alice.hear() == said

    def bye(self) -> None:
        self.dialogs[0].send("BYE")
        self.bench.run()
        self.bob.answer(self.bob.take("BYE"), 200)
        self.bench.run()
        self.alice.take("200")
        self.bench.empty()
