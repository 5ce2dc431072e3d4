"""Far ends that speak SRTP, with keys in their descriptions (RFC 4568)."""
import base64
import re

from sipcore.anchor.sdes import usable
from sipcore.media.srtpkey import key_size
from sipcore.media.srtpprobe import SrtpProbe
from tests.anchor.bridges import Far

PASS, NEVER, OFFER, REQUIRE = range(4)
CM, GCM = "AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"


def crypto(tag: int, suite: str, key: bytes, more: str = "") -> str:
    return f"a=crypto:{tag} {suite} inline:{base64.b64encode(key).decode()}{more}"


def lines(description: bytes) -> list[bytes]:
    return re.findall(rb"^a=crypto:[^\r\n]*", description, re.MULTILINE)


def profile(description: bytes) -> str:
    found = re.search(rb"^m=audio \d+ (\S+)", description, re.MULTILINE)
    assert found is not None
    return found[1].decode()


class SecureFar(Far):
    """A far end whose packets are protected once both keys are known."""

    def __init__(self, side: int, *suites: str, host: str = "") -> None:
        super().__init__(side, host)
        self.suites = suites or (CM,)
        self.keys = {suite: bytes((side * 50 + number * 7 + i) % 256 for i in range(key_size(suite)))
                     for number, suite in enumerate(self.suites)}
        self.first_tag = 1
        self.mki = b""                  # what its packets carry (suite CM)
        self.seal: SrtpProbe | None = None
        self.open: SrtpProbe | None = None
        self.suite = ""
        self.hears_with = b""

    def sdp(self, media: str = "RTP/SAVP 8 0 101", *more: str, version: int = 1, kind: str = "audio") -> bytes:
        """An offer with all its keys."""
        more_of_key = f"|2^31|{int.from_bytes(self.mki)}:{len(self.mki)}" if self.mki else ""
        offered = [crypto(self.first_tag + number, suite, self.keys[suite], more_of_key)
                   for number, suite in enumerate(self.suites)]
        return super().sdp(media, *offered, *more, version=version, kind=kind)

    def answer(self, offer: bytes, media: str = "8 0 101") -> bytes:
        """An answer that takes the first line of an offer whose suite it knows."""
        self.told(offer)
        for tag, suite, key in usable(offer):
            if suite in self.suites:
                self._agree(suite, key)
                return super().sdp(f"{profile(offer)} {media}", crypto(tag, suite, self.keys[suite]))
        return super().sdp(f"{profile(offer)} {media}")

    def answered(self, answer: bytes) -> None:
        """Its offer was answered so."""
        self.told(answer)
        (tag, suite, key), = usable(answer)
        assert self.suites[tag - self.first_tag] == suite
        self._agree(suite, key)

    def _agree(self, suite: str, key: bytes) -> None:
        if self.open is None or (suite, key) != (self.suite, self.hears_with):
            self.open = SrtpProbe(suite, key, False)
        if self.seal is None or suite != self.suite:
            self.seal = SrtpProbe(suite, self.keys[suite], True)
        self.suite, self.hears_with = suite, key

    def wire(self, packet: bytes) -> bytes:
        assert self.seal is not None
        sealed = self.seal.protect(packet)
        # RFC 3711 3.1: before the tag.
        return sealed[:-10] + self.mki + sealed[-10:] if self.mki else sealed

    def listen(self, packets: int) -> list[bytes]:
        fresh: list[bytes] = []
        for _ in range(packets):
            assert self.open is not None
            packet = self.open.unprotect(self.phone.receive())
            assert isinstance(packet, bytes), packet
            fresh.append(packet)
        self.heard += fresh
        return fresh
