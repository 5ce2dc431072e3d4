"""A forwarded call whose phones have SRTP."""
from sipcore.anchor.sdes import usable
from sipcore.media.srtpkey import key_size
from sipcore.media.srtpprobe import SrtpProbe
from tests.anchor.bench import Call
from tests.anchor.secure import CM

SAVP = "RTP/SAVP 0 101"


def key_of(seed: int, suite: str = CM) -> bytes:
    return bytes((seed + i) % 256 for i in range(key_size(suite)))


class Keys:
    """What one phone sends with, and what it was told to expect."""

    def __init__(self, sends: bytes, told: bytes, suite: str = CM):
        self.seal = SrtpProbe(suite, sends, True)
        self.open = SrtpProbe(suite, next(key for _, name, key in usable(told) if name == suite), False)


def talk(call: Call, alice: Keys | None, bob: Keys | None) -> None:
    """Both hear each other, each over what it has."""
    for one, other, talker, listener, edge in ((alice, bob, call.at_alice, call.at_bob, call.edge_alice),
                                               (bob, alice, call.at_bob, call.at_alice, call.edge_bob)):
        packet = talker.packet(b"words")
        talker.socket.sendto(one.seal.protect(packet) if one else packet, edge)
        heard = listener.hear()
        assert (other.open.unprotect(heard) if other else heard) == packet
