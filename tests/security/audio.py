"""Audio of the parties of an attack: ports that speak and hear RTP, and calls through an edge that anchors."""
import itertools
import select
import socket
import struct
from pathlib import Path

from sipcore.wire.message import Message
from sipcore.wire.sdp import Sdp
from tests.anchor.bench import sdp
from tests.edge import EdgeProcess, wait_until
from tests.security.namespace import Namespace
from tests.security.range import CONFIGURATION, EDGE, PBX, PEER, SECONDS, Party, Range, fresh, reply, request

FIRST, LAST = 20000, 20999
EDGE6, PBX6, STRANGER6 = "2001:db8::1", ("2001:db8::20", 5060), "2001:db8::66"
Where = tuple[str, int]
_ports = itertools.count(30000, 2)


def configuration(relay: str = "", first: int = FIRST, last: int = LAST) -> str:
    """The edge of the other attacks, with audio anchored; who calls 6000 reaches a PBX over IPv6, who calls 7000 must
    have SRTP, which the PBX has not. No port is bound but those of calls, so that the kernel tells which ones have come
    back.

    relay: lines of [relay]. first, last: the media ports.
    """
    route = '[[route]]\ngroups = ["peers", "limited", "asked"]\nto = "pbx"\n'
    assert route in CONFIGURATION
    anchored = CONFIGURATION.replace(route, f'{route}media = "anchor"\n')
    return anchored.replace("[[route]]", _IPV6, 1) + _MEDIA.format(first=first, last=last, relay=relay)


_IPV6 = f"""
[[listener]]
name = "edge6"
bind = "udp:[{EDGE6}]:5060"

[[group]]
name = "pbx6"
addresses = ["{PBX6[0]}"]

[[upstream]]
name = "pbx6"
targets = [{{ address = "[{PBX6[0]}]:{PBX6[1]}" }}]

[[route]]
users = ["6000"]
to = "pbx6"
media = "anchor"

[[route]]
users = ["7000"]
to = "pbx"
media = "anchor"
srtp = "require"

[[route]]"""
_MEDIA = f"""
[[media]]
name = "audio"
bind = "{EDGE[0]}"
ports = "{{first}}-{{last}}"

[[media]]
name = "audio6"
bind = "{EDGE6}"
ports = "{{first}}-{{last}}"

[relay]
quarantine_seconds = 0
ready = 0
{{relay}}
"""


def place(message: bytes) -> Where:
    """Where the description in a message wants audio."""
    audio = Sdp(Message(message).body).media[0]
    return audio.connection, audio.port


class Voice:
    """A port pair for audio. ssrc: of what it says."""

    def __init__(self, namespace: Namespace, host: str, port: int = 0, *, ssrc: int = 0):
        port = port or next(_ports)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.address: Where = (host, port)
        self.ssrc = ssrc or port
        self.sequence = 0
        self.rtp = namespace.socket(bind=(host, port), family=family)
        self.rtcp = namespace.socket(bind=(host, port + 1), family=family)

    def packet(self, text: bytes, payload_type: int = 0) -> bytes:
        self.sequence += 1
        return struct.pack("!BBHII", 0x80, payload_type, self.sequence, 160 * self.sequence, self.ssrc) + text

    def say(self, text: bytes, to: Where) -> bytes:
        """Send an RTP packet; returns it."""
        return self.send(self.packet(text), to)

    def send(self, data: bytes, to: Where) -> bytes:
        self.rtp.sendto(data, to)
        return data

    def report(self, to: Where) -> bytes:
        """Send a receiver report to an RTCP port, from the RTCP port (RFC 3550 6.4.2); returns it."""
        data = struct.pack("!BBHI", 0x80, 201, 1, self.ssrc)
        self.rtcp.sendto(data, to)
        return data

    def hear(self, *, rtcp: bool = False) -> tuple[bytes, Where]:
        """The next packet, and where it came from."""
        heard = self.rtcp if rtcp else self.rtp
        assert select.select([heard], [], [], SECONDS)[0], f"{self.address} heard nothing"
        data, source = heard.recvfrom(65535)
        return data, source[:2]

    def silent(self) -> bool:
        """Nothing has arrived that was not heard."""
        return not select.select([self.rtp, self.rtcp], [], [], 0)[0]

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


class Studio(Range):
    """A Range with voices. At its end nobody has heard what was not for him, and every media port is closed."""

    def __init__(self, namespace: Namespace, edge: EdgeProcess):
        super().__init__(namespace, edge)
        self._voices: list[Voice] = []
        self._bound = self.media_sockets()

    def voice(self, host: str, port: int = 0, *, ssrc: int = 0) -> Voice:
        self._voices.append(Voice(self.namespace, host, port, ssrc=ssrc))
        return self._voices[-1]

    def count_anew(self) -> None:
        """From now on `rose` is right for audio, too, whose figures come to the page only once a second."""
        seen = self.edge.stats()["media_calls"]
        self.hang_up(self.call()[1])
        self._before = self.edge.wait_stats(lambda stats: stats["media_calls"] > seen, "the page is written again")

    def media_sockets(self) -> list[int]:
        """The ports of [[media]] that are bound now, as the kernel has them."""
        lines = [line.split()[1] for name in ("udp", "udp6")
                 for line in Path(f"/proc/{self.edge.worker_pid}/net/{name}").read_text().splitlines()[1:]]
        bound = [int(local.rpartition(":")[2], 16) for local in lines]
        return sorted(port for port in bound if FIRST <= port <= LAST)

    def await_closed_ports(self) -> None:
        wait_until(lambda: self.media_sockets() == self._bound, "every media port is closed")

    def assert_unharmed(self) -> None:
        assert [voice.address for voice in self._voices if not voice.silent()] == []
        super().assert_unharmed()
        self.await_closed_ports()

    def close(self) -> None:
        super().close()
        for voice in self._voices:
            voice.close()


def await_whole_pool(namespace: Namespace, edge: EdgeProcess) -> None:
    """After one more call than the edge's page has seen so far, no session is open and no port taken."""
    studio = Studio(namespace, edge)
    try:
        before = edge.stats()["media_calls"]
        studio.hang_up(studio.call()[1])
        edge.wait_stats(
            lambda stats: stats["media_calls"] > before and not any(
                stats[name] for name in ("media_sessions", "media_ports_used", "media_calls_up")),
            "the pool has every port again")
    finally:
        studio.close()


class AudioCall:
    """A call of the peer to the PBX, each with a voice; INVITE and 200 when `answer` is through.

    offered: the address in the peer's description where it is not the voice's. more: its other lines.
    """

    def __init__(self, studio: Studio, *more: str, offered: Where | None = None, media: str = "RTP/AVP 0 101",
                 user: str = "2000", callee: Party | None = None):
        self.studio, self.more, self.media = studio, more, media
        self.callee = callee or studio.pbx
        self.edge = (EDGE6, EDGE[1]) if ":" in self.callee.address[0] else EDGE
        self.one, self.other = studio.voice(PEER[0]), studio.voice(self.callee.address[0])
        unique = self.call_id = fresh()
        studio.peer.send(request(unique=unique, user=user, body=self.description(self.one, offered)))
        self.invite = self.callee.expect(b"INVITE", unique.encode())
        self.cseq = 1
        self.for_other = place(self.invite)
        """Where the PBX was told to send."""
        self.for_one: Where = ("", 0)
        self.answered = b""

    def description(self, voice: Voice, address: Where | None = None) -> bytes:
        host, port = address or voice.address
        return sdp(host, port, *self.more, family=6 if ":" in host else 4, media=self.media)

    def answer(self) -> "AudioCall":
        self.respond(self.invite, "200 OK", self.description(self.other))
        self.answered = self.studio.peer.expect(b"SIP/2.0 200", self.call_id.encode())
        self.for_one = place(self.answered)
        self.studio.peer.send(self.studio.inside("ACK", self.answered, cseq=1))
        self.callee.expect(b"ACK", self.call_id.encode())
        return self

    def respond(self, request: bytes, status: str, body: bytes = b"") -> None:
        """A response of the callee."""
        self.callee.send(reply(request, status, contact=self.callee.address, body=body), self.edge)

    def reinvite(self, body: bytes, status: str = "200 OK") -> bytes:
        """A re-INVITE of the peer, answered like that; the answer as the peer got it, after its ACK."""
        self.cseq += 1
        mark = b"CSeq: %d INVITE" % self.cseq
        self.studio.peer.send(self.studio.inside("INVITE", self.answered, cseq=self.cseq, body=body))
        invite = self.callee.expect(b"INVITE", mark)
        self.respond(invite, status, self.description(self.other) if status.startswith("2") else b"")
        answer = self.studio.peer.expect(b"SIP/2.0 " + status[:3].encode(), mark)
        if status.startswith("2"):
            self.studio.peer.send(self.studio.inside("ACK", self.answered, cseq=self.cseq))
            self.callee.expect(b"ACK", self.call_id.encode())
        return answer

    def talk(self, one: Voice | None = None) -> None:
        """Each hears what the other says, as it was said, from where it was told to send. one: a new peer's voice."""
        for talker, to, listener, source in (
            (one or self.one, self.for_one, self.other, self.for_other),
            (self.other, self.for_other, one or self.one, self.for_one),
        ):
            said = talker.say(fresh().encode(), to)
            assert listener.hear() == (said, source)

    def end(self) -> dict[str, dict]:
        """BYE from the peer; what the call's line says of its audio."""
        self.studio.hang_up(self.answered, cseq=self.cseq + 1, callee=self.callee, edge=self.edge)
        line = self.studio.edge.wait_call_line(event="call", call_id=self.call_id)
        assert (line["status"], line["ended"]) == (200, "caller")
        return dict(line["media"])


__all__ = ["EDGE6", "PBX", "PBX6", "PEER", "STRANGER6", "AudioCall", "Studio", "Voice",
           "await_whole_pool", "configuration", "place"]
