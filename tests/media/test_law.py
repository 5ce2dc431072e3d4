"""G.711 of one law as that of the other."""
import numpy as np

from sipcore.media.g711 import DECODED, SILENCE, encoding
from sipcore.media.law import converted
from tests.media.stage import Stage, numbers, rtp
from tests.media.tones import decode, share, tone

EVERY = bytes(range(256))


def test_the_nearest_sample_of_the_same_sign() -> None:
    for codec, other in (("PCMU", "PCMA"), ("PCMA", "PCMU")):
        for byte, made in zip(EVERY, converted(EVERY, codec), strict=True):
            before, after = DECODED[other][byte], DECODED[codec][made]
            assert byte & 0x80 == made & 0x80
            # Half of the widest step of that segment, and 16 around zero.
            assert abs(before - after) <= max(abs(before) / 16, 16)
    # A-law has no zero: its silence is the least that it has.
    assert converted(bytes([SILENCE["PCMU"]]), "PCMA") == bytes([SILENCE["PCMA"]])


def test_there_and_back_loses_next_to_nothing() -> None:
    samples = np.round(tone(1000, 0.5) * 32767).astype(np.int16)
    coded = encoding("PCMA")[samples.view(np.uint16)].tobytes()
    back = converted(converted(coded, "PCMU"), "PCMA")
    assert share(decode("PCMA", back), 1000) > 0.99


def test_the_relay_converts_for_one_listener_only() -> None:
    with Stage() as stage:
        one, two, three = (stage.phone(f"127.{n}.0.1") for n in (1, 2, 3))
        session, where = stage.session(one, two, three)
        stage.relay.set_hearing(session, {0: [1], 1: [0], 2: [0]})
        stage.relay.map_payloads(session, 1, {8: 0}, {8: "PCMU"})
        packet = rtp(1, 160, payload_type=8, payload=EVERY[:160])
        one.send(packet, where[0])
        made = two.receive()
        assert numbers(made)[:4] == (1, 160, 1, 0)
        assert made[12:] == converted(EVERY[:160], "PCMU")
        assert three.receive() == packet
        # A source list in front, padding behind: only the payload is converted.
        odd = bytes([0xA1]) + packet[1:12] + b"\x08\x08\x08\x08" + EVERY[:20] + bytes([0, 0, 3])
        one.send(odd, where[0])
        made = two.receive()
        assert made[12:] == b"\x08\x08\x08\x08" + converted(EVERY[:20], "PCMU") + bytes([0, 0, 3])
        assert three.receive() == odd
        stage.relay.map_payloads(session, 1, {})
        one.send(packet, where[0])
        assert two.receive()[12:] == packet[12:]
        stage.end(session)
