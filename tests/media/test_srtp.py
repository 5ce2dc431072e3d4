"""SRTP against the RFCs' vectors, against libsrtp2, and against packets that somebody has changed or sent again."""
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.media.srtpkey import NAMES, key_size
from sipcore.media.srtpprobe import SrtpProbe
from tests.media.libsrtp import LibSrtp

SUITES = sorted(NAMES)
H = bytes.fromhex


def material(suite: str, seed: int = 1) -> bytes:
    return bytes((seed + 7 * i) % 256 for i in range(key_size(suite)))


def rtp(seq: int, payload: bytes = b"tone" * 40, ssrc: int = 0xCAFEBABE, first: int = 0x80, rest: bytes = b"") -> bytes:
    return struct.pack("!BBHII", first, 0, seq & 0xFFFF, 160 * seq & 0xFFFFFFFF, ssrc) + rest + payload


def report(ssrc: int = 0xCAFEBABE) -> bytes:
    return struct.pack("!BBHI", 0x80, 200, 6, ssrc) + bytes(range(20))


def pair(suite: str) -> tuple[SrtpProbe, SrtpProbe]:
    return SrtpProbe(suite, material(suite), True), SrtpProbe(suite, material(suite), False)


# --- vectors


def test_key_derivation_is_that_of_rfc_3711_b3() -> None:
    keys = SrtpProbe("AES_CM_128_HMAC_SHA1_80",
                     H("E1F97A0D3E018BE0D64FA32C06DE4139" "0EC675AD498AFEEBB6960B3AABE6"), True)
    assert keys.derived(0, 16) == H("C61E7A93744F39EE10734AFE3FF7A087")
    assert keys.derived(2, 14) == H("30CBBC08863D8C85D49DB34A9AE1")
    assert keys.derived(1, 94) == H(
        "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF72270986371C10C9A369AC2"
        "F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2")


def test_key_derivation_is_that_of_rfc_6188_7() -> None:
    keys = SrtpProbe("AES_256_CM_HMAC_SHA1_80", H(
        "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6" "3b04803de51ee7c96423ab5b78d2"), True)
    assert keys.derived(0, 32) == H("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4")
    assert keys.derived(2, 14) == H("fa31791685ca444a9e07c6c64e93")
    assert keys.derived(1, 20) == H("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05")


def test_keystream_is_that_of_rfc_3711_b2() -> None:
    keys = SrtpProbe("AES_CM_128_HMAC_SHA1_80", bytes(30), True,
                     (H("2B7E151628AED2A6ABF7158809CF4F3C"), H("F0F1F2F3F4F5F6F7F8F9FAFBFCFD")))
    stream = keys.keystream(0, 0, 0xFF02 * 16)
    assert stream[:48] == H("E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB"
                            "41E95B3BB0A2E8DD477901E4FCA894C0")
    assert stream[0xFEFF * 16:] == H("EC8CDF7398607CB0F2D21675EA9EA1E4362B7C3C6773516318A077D7FC5073AE"
                                     "6A2CC3787889374FBEB4C81B17BA6C44")


GALLIA = H("8040f17b8041f8d35501a0b2") + b"Gallia est omnis divisa in partes tres"
QUID = b"Quid pro quo"
LUNA = H("81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61") + H("deadbeef") * 5


@pytest.mark.parametrize(("suite", "sealed"), [
    ("AEAD_AES_128_GCM", "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a91"
                         "52cf765ee4390cce"),
    ("AEAD_AES_256_GCM", "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0"
                         "f9bb7878d7a76c13"),
])
def test_packets_are_those_of_rfc_7714_16(suite: str, sealed: str) -> None:
    session = bytes(range(key_size(suite) - 12)), QUID
    sends, hears = (SrtpProbe(suite, material(suite), way, session) for way in (True, False))
    assert sends.protect(GALLIA) == GALLIA[:12] + H(sealed)
    assert hears.unprotect(GALLIA[:12] + H(sealed)) == GALLIA


@pytest.mark.parametrize(("suite", "sealed"), [
    ("AEAD_AES_128_GCM", "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275bc84a"
                         "a45896cf4d2fc5abf87245d9eade800005d4"),
    ("AEAD_AES_256_GCM", "d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad1d1e"
                         "b30c4446839f57ff6f6cb26ac3be800005d4"),
])
def test_reports_are_those_of_rfc_7714_17(suite: str, sealed: str) -> None:
    session = bytes(range(key_size(suite) - 12)), QUID
    sends, hears = (SrtpProbe(suite, material(suite), way, session) for way in (True, False))
    sends.expect(0x4D617273, 0, 0x5D4)
    assert sends.protect(LUNA, rtcp=True) == LUNA[:8] + H(sealed)
    assert hears.unprotect(LUNA[:8] + H(sealed), rtcp=True) == LUNA


# --- against libsrtp2

HEADERS = st.sampled_from([
    (0x80, b""), (0x82, b"\1\2\3\4" * 2), (0x90, b"\xbe\xde\0\2" + b"\x10\1\0\0" * 2), (0x91, b"\1\2\3\4\xbe\xde\0\0"),
    (0xA0, b""),
])


@given(suite=st.sampled_from(SUITES), header=HEADERS, payload=st.binary(max_size=300), start=st.integers(0, 0xFFFF),
       steps=st.lists(st.integers(1, 40), max_size=6), seed=st.integers(0, 255))
def test_what_libsrtp_says_is_understood_and_the_other_way_round(suite, header, payload, start, steps, seed) -> None:
    key = material(suite, seed)
    ours, theirs = SrtpProbe(suite, key, True), LibSrtp(suite, key, True)
    we, they = SrtpProbe(suite, key, False), LibSrtp(suite, key, False)
    seq = start
    for step in [0, *steps]:
        seq += step
        packet = rtp(seq, payload + b"\1", first=header[0], rest=header[1])
        wire = theirs.protect(packet)
        assert ours.protect(packet) == wire
        assert isinstance(wire, bytes)
        assert we.unprotect(wire) == packet
        assert they.unprotect(wire) == packet
        said = theirs.protect(report(), rtcp=True)
        assert isinstance(said, bytes)
        assert we.unprotect(said, rtcp=True) == report()
        mine = ours.protect(report(), rtcp=True)
        assert they.unprotect(mine, rtcp=True) == report()
    theirs.close()
    they.close()


@pytest.mark.parametrize("suite", SUITES)
def test_the_rollover_counter_is_that_of_libsrtp(suite: str) -> None:
    """Twice round in big steps, with packets that come late over the edge."""
    theirs, we = LibSrtp(suite, material(suite), True), SrtpProbe(suite, material(suite), False)
    numbers = [*range(0, 3 * 65536, 8191)]
    packets = [rtp(seq) for number in numbers for seq in (number, number + 2, number + 1)]
    order = [theirs.protect(packet) for packet in packets]
    assert [we.unprotect(wire) for wire in order if isinstance(wire, bytes)] == packets
    theirs.close()


# --- what somebody has done to packets


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("rtcp", [False, True])
def test_a_packet_of_which_any_bit_is_another_is_dropped(suite: str, rtcp: bool) -> None:
    sends, hears = pair(suite)
    packet = report() if rtcp else rtp(7, b"0123456789")
    wire = sends.protect(packet, rtcp)
    for bit in range(8 * len(wire)):
        changed = bytearray(wire)
        changed[bit // 8] ^= 1 << bit % 8
        assert isinstance(hears.unprotect(bytes(changed), rtcp), str), bit
    assert hears.unprotect(wire, rtcp) == packet


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("rtcp", [False, True])
def test_a_packet_that_is_cut_or_plain_is_dropped(suite: str, rtcp: bool) -> None:
    sends, hears = pair(suite)
    packet = report() if rtcp else rtp(7, b"")
    wire = sends.protect(packet, rtcp)
    assert all(hears.unprotect(wire[:n], rtcp) == "unauthentic" for n in range(len(wire)))
    assert hears.unprotect(packet, rtcp) == "unauthentic"
    assert hears.unprotect(rtp(7), rtcp) == "unauthentic"
    assert hears.unprotect(wire, rtcp) == packet


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("rtcp", [False, True])
def test_a_packet_comes_once(suite: str, rtcp: bool) -> None:
    sends, hears = pair(suite)
    packets = [report() if rtcp else rtp(seq) for seq in range(100)]
    wires = [sends.protect(packet, rtcp) for packet in packets]
    for wire in wires[:40] + wires[50:]:
        assert hears.unprotect(wire, rtcp) in packets
        assert hears.unprotect(wire, rtcp) == "replayed"
    # 40 to 49 are late, and in the window.
    assert all(isinstance(hears.unprotect(wire, rtcp), bytes) for wire in reversed(wires[40:50]))
    assert {hears.unprotect(wire, rtcp) for wire in wires} == {"replayed"}


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("rtcp", [False, True])
@pytest.mark.parametrize("mki", [b"\x01", b"\x00\x00\x00\x07", bytes(range(1, 17))], ids=len)
def test_packets_that_carry_an_identifier_are_those_of_libsrtp(suite: str, rtcp: bool, mki: bytes) -> None:
    theirs, ours = LibSrtp(suite, material(suite), True, mki), SrtpProbe(suite, material(suite), False, mki=mki)
    plain = report() if rtcp else rtp(1)
    sealed = theirs.protect(plain, rtcp)
    assert isinstance(sealed, bytes)
    # Of another key, or without any: not for this one.
    other = SrtpProbe(suite, material(suite), False, mki=mki[:-1] + b"\xee")
    assert other.unprotect(sealed, rtcp) == "unauthentic"
    assert pair(suite)[1].unprotect(sealed, rtcp) == "unauthentic"
    assert ours.unprotect(pair(suite)[0].protect(plain, rtcp), rtcp) == "unauthentic"
    for n in range(len(sealed)):
        assert ours.unprotect(sealed[:n], rtcp) == "unauthentic"
    assert ours.unprotect(sealed, rtcp) == plain
    assert ours.unprotect(sealed, rtcp) == "replayed"
    theirs.close()


def test_a_packet_older_than_the_window_is_not_let_in() -> None:
    sends, hears = pair("AES_CM_128_HMAC_SHA1_80")
    wires = [sends.protect(rtp(seq)) for seq in range(66)]
    hears.unprotect(wires[65])
    assert hears.unprotect(wires[2]) == rtp(2)
    assert hears.unprotect(wires[1]) == "replayed"


def test_the_rollover_counter_counts_the_rounds() -> None:
    sends, hears = pair("AES_CM_128_HMAC_SHA1_80")
    before, after = rtp(65535), rtp(65536)
    one, two = sends.protect(before), sends.protect(after)
    assert hears.unprotect(two[:-1] + b"?") == "unauthentic"
    assert (hears.unprotect(one), hears.unprotect(two)) == (before, after)
    # Of the round before, and late: one of this round with its number would be another packet.
    assert hears.unprotect(sends.protect(rtp(65536 + 1))) == rtp(65537)
    late = SrtpProbe("AES_CM_128_HMAC_SHA1_80", material("AES_CM_128_HMAC_SHA1_80"), True)
    assert hears.unprotect(late.protect(rtp(65534))) == rtp(65534)
    assert hears.unprotect(late.protect(rtp(65535))) == "replayed"
    # A receiver that came later does not know of the round.
    deaf = SrtpProbe("AES_CM_128_HMAC_SHA1_80", material("AES_CM_128_HMAC_SHA1_80"), False)
    assert deaf.unprotect(sends.protect(rtp(65536 + 2))) == "unauthentic"
    deaf.expect(0xCAFEBABE, 65538)
    assert deaf.unprotect(sends.protect(rtp(65536 + 3))) == rtp(65539)


def test_no_index_is_sent_twice() -> None:
    sends, _ = pair("AEAD_AES_128_GCM")
    assert sends.protect(rtp(5)) != b""
    assert sends.protect(rtp(5, b"another")) == b""
    assert sends.protect(rtp(4)) != b""
    sends.expect(0xCAFEBABE, (1 << 48) - 1)
    assert sends.protect(rtp(0)) == b""
    sends.expect(0xCAFEBABE, (1 << 48) - 1, (1 << 31) - 1)
    assert sends.protect(report(), rtcp=True) != b""
    assert sends.protect(report(), rtcp=True) == b""


def test_sources_are_bounded_and_strangers_take_no_place() -> None:
    sends, hears = pair("AES_CM_128_HMAC_SHA1_80")
    first = sends.protect(rtp(1, ssrc=0))
    assert hears.unprotect(first) == rtp(1, ssrc=0)
    for ssrc in range(1000):
        assert hears.unprotect(rtp(1, ssrc=ssrc)) in ("unauthentic", "replayed")
    assert hears.unprotect(first) == "replayed"
    assert all(sends.protect(rtp(1, ssrc=ssrc)) for ssrc in range(1, 8))
    assert sends.protect(rtp(1, ssrc=8)) == b""
    for ssrc in range(1, 20):
        another = SrtpProbe("AES_CM_128_HMAC_SHA1_80", material("AES_CM_128_HMAC_SHA1_80"), True)
        assert hears.unprotect(another.protect(rtp(1, ssrc=ssrc))) == rtp(1, ssrc=ssrc)
    # The last eight are known.
    assert hears.unprotect(another.protect(rtp(2, ssrc=19))) == rtp(2, ssrc=19)


@pytest.mark.parametrize("broken", [b"", rtp(1)[:11], rtp(1, first=0x9F)[:20], b"\x40" + rtp(1)[1:]])
def test_what_is_no_packet_is_not_sent(broken: bytes) -> None:
    sends, hears = pair("AES_CM_128_HMAC_SHA1_80")
    with pytest.raises(ValueError, match="no packet"):
        sends.protect(broken)
    assert hears.unprotect(broken + bytes(10)) == "unauthentic"


def test_keys_have_the_length_of_their_suite() -> None:
    assert {suite: key_size(suite) for suite in SUITES} == {
        "AES_CM_128_HMAC_SHA1_80": 30, "AES_CM_128_HMAC_SHA1_32": 30, "AES_256_CM_HMAC_SHA1_80": 46,
        "AES_256_CM_HMAC_SHA1_32": 46, "AEAD_AES_128_GCM": 28, "AEAD_AES_256_GCM": 44}
    with pytest.raises(ValueError, match="expected 30 bytes"):
        SrtpProbe("AES_CM_128_HMAC_SHA1_80", bytes(29), True)


def test_a_key_is_never_shown() -> None:
    probe = SrtpProbe("AES_CM_128_HMAC_SHA1_80", b"k" * 30, True)
    assert "kkk" not in repr(probe) + str(probe)
