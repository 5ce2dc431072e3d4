"""Sides with SRTP: what they are sent and what is believed of them, beside plain ones and beside each other."""
import pytest

from sipcore.media.packet import OPENED, PLAIN, SEALED
from sipcore.media.relay import DTMF, LATCHED
from sipcore.media.sound import prepare
from sipcore.media.srtpkey import NAMES, key_size
from sipcore.media.srtpprobe import SrtpProbe
from sipcore.media.tap import Tap

from .stage import Phone, Stage, Where, numbers, receiver_report, rtp
from .tones import tone

SUITE = "AES_CM_128_HMAC_SHA1_80"


class Keys:
    """The far end's half of two keys."""

    def __init__(self, seed: int, suite: str = SUITE):
        self.suite = suite
        self.sends, self.hears = (bytes((seed + way + i) % 256 for i in range(key_size(suite))) for way in (0, 99))
        self.seal = SrtpProbe(suite, self.sends, True)
        self.open = SrtpProbe(suite, self.hears, False)

    def give(self, stage: Stage, session: int, side: int, phone: Phone, **aim: object) -> None:
        stage.relay.set_keys(session, side, (self.suite, self.sends), (self.suite, self.hears))
        stage.relay.set_aim(session, side, rtp=phone.address, secure=True, **aim)  # type: ignore[arg-type]


def secure_and_plain(stage: Stage, suite: str = SUITE) -> tuple[int, list[Where], Phone, Phone, Keys]:
    one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
    session, where = stage.session(one, two)
    keys = Keys(1, suite)
    keys.give(stage, session, 0, one)
    return session, where, one, two, keys


@pytest.mark.parametrize("suite", sorted(NAMES))
def test_srtp_to_rtp_and_back(suite: str) -> None:
    with Stage() as stage:
        session, where, one, two, keys = secure_and_plain(stage, suite)
        for seq in range(65530, 65542):
            one.send(keys.seal.protect(rtp(seq, 160 * seq, ssrc=7)), where[0])
            assert two.receive_from() == (rtp(seq, 160 * seq, ssrc=7), where[1])
            two.send(rtp(seq + 7, seq, ssrc=9), where[1])
            packet, source = one.receive_from()
            assert (keys.open.unprotect(packet), source) == (rtp(seq + 7, seq, ssrc=9), where[0])
        stage.counted(session, 0, packets=12, sent=12, unauthentic=0, replayed=0, sent_octets=12 * 172)


def test_srtp_to_srtp_with_other_keys() -> None:
    with Stage() as stage:
        _, where, one, two, keys = secure_and_plain(stage)
        others = Keys(50, "AEAD_AES_256_GCM")
        others.give(stage, 0, 1, two)
        for seq in range(5):
            one.send(keys.seal.protect(rtp(seq, 160 * seq)), where[0])
            assert others.open.unprotect(two.receive()) == rtp(seq, 160 * seq)
            two.send(others.seal.protect(rtp(seq, 160 * seq, ssrc=2)), where[1])
            assert keys.open.unprotect(one.receive()) == rtp(seq, 160 * seq, ssrc=2)


def test_reports_are_read_and_sent_on() -> None:
    with Stage() as stage:
        session, where, one, two, keys = secure_and_plain(stage)
        report = receiver_report(7)
        one.control.sendto(keys.seal.protect(report, True), (where[0][0], where[0][1] + 1))
        assert two.control.recv(99) == report
        two.control.sendto(receiver_report(9), (where[1][0], where[1][1] + 1))
        assert keys.open.unprotect(one.control.recv(99), True) == receiver_report(9)
        # With RTCP on RTP's port, and what no key has made.
        keys.give(stage, session, 0, one, mux=True)
        one.send(report, where[0])
        stage.counted(session, 0, unauthentic=1, rtcp=1)
        one.send(keys.seal.protect(report, True), where[0])
        assert two.control.recv(99) == report
        stage.counted(session, 0, rtcp=2, packets=0)


def test_what_is_not_authentic_is_dropped_and_counted() -> None:
    with Stage() as stage:
        session, where, one, two, keys = secure_and_plain(stage)
        good = keys.seal.protect(rtp(1))
        one.send(good, where[0])
        assert two.receive() == rtp(1)
        one.send(good[:-1] + bytes([good[-1] ^ 1]), where[0])
        one.send(rtp(2), where[0])
        one.send(rtp(3, payload=b""), where[0])
        one.send(Keys(2).seal.protect(rtp(4)), where[0])
        stage.counted(session, 0, replayed=1, unauthentic=3)
        one.send(good, where[0])
        stage.counted(session, 0, replayed=2)
        one.send(keys.seal.protect(rtp(5)), where[0])
        assert two.receive() == rtp(5)
        stage.counted(session, 0, packets=2, replayed=2, unauthentic=3)
        assert one.is_quiet()
        assert two.is_quiet()


@pytest.mark.parametrize("learning", [1, 2])
def test_nobody_is_learned_who_has_no_key(learning: int) -> None:
    """A stranger at the signalled host, before the far end sends anything."""
    with Stage() as stage:
        stranger, one, two = stage.phone("127.1.0.1"), stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        keys = Keys(1)
        keys.give(stage, session, 0, one, learning=learning)
        for packet in (rtp(1), Keys(2).seal.protect(rtp(1)), receiver_report()):
            stranger.send(packet, where[0])
        stage.counted(session, 0, unauthentic=3, packets=0, rtcp=0)
        two.send(rtp(9), where[1])
        assert keys.open.unprotect(one.receive()) == rtp(9)
        assert stranger.is_quiet()
        # Behind a NAT it has another port, and a key that fits.
        stranger.send(keys.seal.protect(rtp(1)), where[0])
        assert stage.wait_for(LATCHED)[5] == two.address
        assert stage.wait_for(LATCHED)[5] == stranger.address
        assert two.receive() == rtp(1)
        # Once learned, what another one sends costs no look at its tag.
        one.control.sendto(rtp(3), where[0])
        stage.counted(session, 0, wrong_source=1, unauthentic=3)


def test_nothing_leaves_in_the_clear_without_keys() -> None:
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        stage.relay.set_aim(session, 0, rtp=one.address, secure=True)
        two.send(rtp(1), where[1])
        one.send(rtp(1), where[0])
        stage.counted(session, 0, unsendable=1, unauthentic=1, packets=0, sent=0)
        assert one.is_quiet()
        # Agreed anew, without: as any other.
        stage.relay.set_aim(session, 0, rtp=one.address)
        two.send(rtp(2), where[1])
        assert one.receive() == rtp(2)


def test_a_key_that_stays_keeps_its_rollover_counter_and_a_new_one_makes_no_gap() -> None:
    with Stage() as stage:
        session, where, one, two, keys = secure_and_plain(stage)
        for seq in (65534, 65535, 65536):
            one.send(keys.seal.protect(rtp(seq)), where[0])
            assert two.receive() == rtp(seq)
            two.send(rtp(seq, ssrc=2), where[1])
            assert keys.open.unprotect(one.receive()) == rtp(seq, ssrc=2)
        keys.give(stage, session, 0, one)
        one.send(keys.seal.protect(rtp(65537)), where[0])
        assert two.receive() == rtp(65537)
        two.send(rtp(65537, ssrc=2), where[1])
        assert keys.open.unprotect(one.receive()) == rtp(65537, ssrc=2)
        # Another key: packets with the one before are still under way.
        late = keys.seal.protect(rtp(65538))
        fresh = Keys(77)
        fresh.give(stage, session, 0, one)
        one.send(fresh.seal.protect(rtp(65539)), where[0])
        assert two.receive() == rtp(65539)
        one.send(late, where[0])
        assert two.receive() == rtp(65538)
        one.send(late, where[0])
        stage.counted(session, 0, replayed=1, unauthentic=0)
        two.send(rtp(65540, ssrc=2), where[1])
        assert fresh.open.unprotect(one.receive()) == rtp(65540, ssrc=2)


def test_no_number_is_used_twice_towards_a_side_with_srtp() -> None:
    """A plain source that says a packet twice, begins anew further back, or changes its SSRC."""
    with Stage() as stage:
        session, where, one, two, keys = secure_and_plain(stage)

        def hear(packet: bytes) -> tuple[int, int, int, int, bool]:
            two.send(packet, where[1])
            said = keys.open.unprotect(one.receive())
            assert isinstance(said, bytes)
            return numbers(said)

        assert hear(rtp(1000, 5, ssrc=2))[:3] == (1000, 5, 2)
        two.send(rtp(1000, 5, ssrc=2, payload=b"another" * 9), where[1])
        stage.counted(session, 0, unsendable=1, sent=1)
        assert hear(rtp(500, 9, ssrc=2))[::2] == (1001, 2, False)
        assert hear(rtp(501, 169, ssrc=2))[::2] == (1002, 2, False)
        assert hear(rtp(7, 9, ssrc=3))[::2] == (1003, 2, False)


def test_the_edge_plays_and_hears_digits_over_srtp() -> None:
    sound = prepare(tone(700, 0.1), 8000, name="short")
    with Stage() as stage:
        session, where, one, two, keys = secure_and_plain(stage)
        keys.give(stage, session, 0, one, event_payload=101)
        two.send(rtp(1, ssrc=2), where[1])
        assert keys.open.unprotect(one.receive()) == rtp(1, ssrc=2)
        assert stage.relay.play(session, 0, **sound.order("PCMA"))
        said = keys.open.unprotect(one.receive())
        assert isinstance(said, bytes)
        assert numbers(said)[::2] == (2, 2, True)
        for seq in range(3):
            one.send(keys.seal.protect(rtp(seq, payload_type=101, payload=b"\5\x8a\3\x20")), where[0])
        assert stage.wait_for(DTMF)[4] == 5 << 32 | 100
        assert two.receive()[12:] == b"\5\x8a\3\x20"


def test_copies_say_which_of_them_are_plain() -> None:
    tap = Tap()
    with Stage(tap=tap) as stage:
        session, where, one, two, keys = secure_and_plain(stage)
        stage.relay.capture(session)
        wire = keys.seal.protect(rtp(1))
        one.send(wire, where[0])
        assert two.receive() == rtp(1)
        two.send(rtp(2, ssrc=2), where[1])
        back = one.receive()
        stage.counted(session, 0, sent=1)
        copies = [(copy.side, copy.sent, copy.form, copy.data) for copy in tap.drain()]
        assert copies == [
            (0, False, SEALED, wire), (0, False, OPENED, rtp(1)), (1, True, PLAIN, rtp(1)),
            (1, False, PLAIN, rtp(2, ssrc=2)), (0, True, OPENED, rtp(2, ssrc=2)), (0, True, SEALED, back)]


def test_a_side_that_is_released_leaves_no_key() -> None:
    with Stage() as stage:
        session, where, one, two, keys = secure_and_plain(stage)
        one.send(keys.seal.protect(rtp(1)), where[0])
        assert two.receive() == rtp(1)
        assert stage.relay.release(session, 0)
        port = stage.relay.bind(session, 0, 0)
        stage.relay.set_aim(session, 0, rtp=one.address)
        stage.relay.set_hearing(session, {0: [1], 1: [0]})
        one.send(rtp(2), (where[0][0], port))
        assert numbers(two.receive())[3] == 8


def test_a_far_end_that_moves_and_keeps_its_key_is_heard_in_its_third_round() -> None:
    """Of 2^16 packets each: how many there were stands in no packet (RFC 3711 3.3.1)."""
    with Stage() as stage:
        first, where, one, two, keys = secure_and_plain(stage)
        numbers = range(0, 3 * 65536, 20000)
        for number in numbers:
            one.send(keys.seal.protect(rtp(number & 0xFFFF, number)), where[0])
            two.receive()
        moved, other = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        second, there = stage.session(moved, other)
        stage.relay.set_origin(second, 0, first, 0)
        keys.give(stage, second, 0, moved)
        said = rtp(numbers[-1] + 1 & 0xFFFF, numbers[-1] + 1)
        sealed = keys.seal.protect(said)
        moved.send(sealed, there[0])
        assert other.receive() == said
        # What came in the other session is one of those that have come before.
        moved.send(sealed, there[0])
        stage.counted(second, 0, packets=1, replayed=1, unauthentic=0)
        # Without that it is nobody's: its round is not known.
        third, elsewhere = stage.session(stage.phone("127.1.0.1"), stage.phone("127.2.0.1"))
        keys.give(stage, third, 0, moved)
        moved.send(keys.seal.protect(rtp(numbers[-1] + 2 & 0xFFFF, 0)), elsewhere[0])
        stage.counted(third, 0, packets=0, unauthentic=1)


def test_a_far_end_that_moves_and_changes_its_key_is_heard_too() -> None:
    with Stage() as stage:
        first, where, one, two, keys = secure_and_plain(stage)
        one.send(keys.seal.protect(rtp(1)), where[0])
        two.receive()
        moved, other = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        second, there = stage.session(moved, other)
        stage.relay.set_origin(second, 0, first, 0)
        fresh = Keys(77)
        fresh.give(stage, second, 0, moved)
        moved.send(fresh.seal.protect(rtp(5)), there[0])
        assert other.receive() == rtp(5)
        # A side without keys has none to give.
        stage.relay.set_origin(second, 0, first, 1)
        moved.send(fresh.seal.protect(rtp(6)), there[0])
        assert other.receive() == rtp(6)
