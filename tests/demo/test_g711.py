"""G.711 against the values of ITU-T G.711, and the judge of tones."""
import pytest

from proxy.demo.g711 import RATE, encode, share, tone
from sipcore.media.g711 import DECODED


@pytest.mark.parametrize(("codec", "byte", "sample"), [
    ("PCMU", 0xFF, 0), ("PCMU", 0x7F, 0), ("PCMU", 0x80, 32124), ("PCMU", 0x00, -32124), ("PCMU", 0xEF, 132),
    ("PCMA", 0xD5, 8), ("PCMA", 0x55, -8), ("PCMA", 0xAA, 32256), ("PCMA", 0x2A, -32256),
])
def test_decodes_as_the_standard_says(codec, byte, sample):
    assert DECODED[codec][byte] == sample


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_what_is_encoded_decodes_to_the_same_level(codec):
    levels = sorted(DECODED[codec])
    assert [DECODED[codec][byte] for byte in encode(codec, levels)] == levels
    assert DECODED[codec][encode(codec, [99999])[0]] == levels[-1]
    assert DECODED[codec][encode(codec, [-99999])[0]] == levels[0]


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_a_tone_is_told_from_another_and_from_silence(codec):
    sound = tone(codec, 440)
    assert len(sound) == RATE
    assert share(codec, sound[:2400], 440) > 0.98
    assert share(codec, sound[:2400], 600) < 0.01
    assert share("PCMU", b"\xff" * 2400, 440) == 0
    both = encode(codec, (DECODED[codec][a] + DECODED[codec][b] for a, b in zip(sound, tone(codec, 600), strict=True)))
    assert 0.4 < share(codec, both[:2400], 440) < 0.6
