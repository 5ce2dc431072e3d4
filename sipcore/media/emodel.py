"""How good a call sounded, estimated by the E-model (ITU-T G.107) from what the network did to its packets."""
from math import exp, log2, log10, pow, sqrt
from typing import NamedTuple


class Codec(NamedTuple):
    """equipment: Ie, robustness: Bpl with random loss (both ITU-T G.113 Appendix I), delay: ms of one frame or packet
    and the look-ahead."""

    equipment: float
    robustness: float
    delay: float


# Ie and Bpl give back the Ie by percent of loss that G.113 tabulated in 1999 within 3.
# Packets of 20 ms (G.723.1: 30), receivers that conceal loss. G.711 without concealment would have a Bpl of 4.3; no
# telephone of today goes without. G.722 stands on the narrow-band scale as G.711 does: the estimate says what the
# network took away, not what the wider band gives (that is the scale of G.107.1).
CODECS = {
    "PCMU": Codec(0, 25.1, 20),
    "PCMA": Codec(0, 25.1, 20),
    "G722": Codec(0, 25.1, 21.5),
    "G729": Codec(11, 19.0, 25),
    "G723": Codec(15, 16.1, 37.5),
    "GSM-EFR": Codec(5, 10.0, 20),
}
OTHER = CODECS["PCMU"]

# Values of G.107 Table 2 and what they make of equations 7-2 to 7-17 where nothing else is known.
_BASIC = 94.7688            # Ro
_SIMULTANEOUS = 1.4136      # Is
_ECHO_LOSS = 65             # TELR, dB
_LISTENER_ECHO_LOSS = 110   # WEPL, dB


def rating(loss: float, burst: float = 1.0, delay_ms: float = 0.0, codec: str = "PCMU") -> float:
    """The rating factor R of a call, 0 to 93.2.

    R = Ro - Is - Id - Ie-eff (G.107 7.1) with the default values of G.107 Table 2 for everything that is not an
    argument. loss: fraction of lost packets, 0 to 1; burst: BurstR; delay_ms: one way, mouth to ear; codec: a key of
    CODECS, any other counts as G.711. ValueError where an argument is outside of its range.
    """
    if not 0 <= loss <= 1:
        raise ValueError(f"loss: expected a fraction from 0 to 1, not {loss}")
    if not burst > 0:
        raise ValueError(f"burst: expected a ratio above 0, not {burst}")
    if not delay_ms >= 0:
        raise ValueError(f"delay: expected 0 ms or more, not {delay_ms}")
    equipment, robustness, _ = CODECS.get(codec.upper(), OTHER)
    percent = 100 * loss
    # 7-29: Ie-eff
    effective = equipment + (95 - equipment) * percent / (percent / burst + robustness)
    return max(0.0, _BASIC - _SIMULTANEOUS - _delay_impairment(delay_ms) - effective)


def _delay_impairment(delay: float) -> float:
    """Id = Idte + Idle + Idd (G.107 7.4): talker's echo, listener's echo, and delay as such."""
    # 7-21 to 7-24, with STMR of 9 dB or more: Roe is Ro without what the sending side adds, RLR 2 dB.
    echo = _ECHO_LOSS - 40 * log10((1 + delay / 10) / (1 + delay / 150)) + 6 * exp(-0.3 * delay * delay)
    half = (_BASIC - (80 + 2.5 * (echo - 14))) / 2
    talker = (half + sqrt(half * half + 100) - 1) * (1 - exp(-delay))
    # 7-25, 7-26, with Tr = 2 T
    half = (_BASIC - 10.5 * (_LISTENER_ECHO_LOSS + 7) * pow(2 * delay + 1, -0.25)) / 2
    listener = half + sqrt(half * half + 169)
    # 7-27, 7-28, with sT 1 and mT 100 ms
    absolute = 0.0
    if delay > 100:
        x = log2(delay / 100)
        absolute = 25 * (pow(1 + x**6, 1 / 6) - 3 * pow(1 + (x / 3) ** 6, 1 / 6) + 2)
    return talker + listener + absolute


def opinion(r: float) -> float:
    """The mean opinion score of a rating factor, 1 to 4.5 (G.107 Annex B)."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


def mos(
    loss: float, burst: float = 1.0, jitter_ms: float = 0.0, one_way_delay_ms: float = 0.0, codec: str = "PCMU"
) -> float:
    """The estimated mean opinion score of one direction, 1 (bad) to 4.41.

    The delay from mouth to ear is one_way_delay_ms (of the network: half of the round trip), one frame of the codec,
    and a receiver's buffer of twice the jitter (RFC 3550's, a mean deviation), which then loses nothing more. The rest
    as for `rating`.
    """
    for name, value in (("jitter", jitter_ms), ("delay", one_way_delay_ms)):
        if not value >= 0:
            raise ValueError(f"{name}: expected 0 ms or more, not {value}")
    frame = CODECS.get(codec.upper(), OTHER).delay
    return opinion(rating(loss, burst, one_way_delay_ms + 2 * jitter_ms + frame, codec))
