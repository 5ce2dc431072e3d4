"""Packets through the relay over real sockets: who gets what, from where, and what is dropped."""
import pytest

from sipcore.media.ports import PortPool
from tests.media.stage import HOST, Phone, Stage, numbers, receiver_report, rtp, until

pytestmark = pytest.mark.usefixtures("by_both")

PACKETS = [rtp(1), rtp(2, 160, marker=True, payload=b""), rtp(3, payload=bytes(range(256)) * 7 + bytes(244)),
           bytes([0xBF, 0x7F]) + bytes(40), bytes([0x90, 8]) + rtp(5)[2:12] + bytes([0xBE, 0xDE, 0, 1]) + bytes(9)]


@pytest.mark.parametrize("hosts", [("127.1.0.1", "127.2.0.1"), ("::1", "127.2.0.1"), ("127.1.0.1", "::1"),
                                   ("::1", "::1")])
def test_both_ways_byte_for_byte(hosts: tuple[str, str]) -> None:
    pools = (PortPool(HOST, 20000, 20099, quarantine=0), PortPool("::1", 20100, 20199, quarantine=0))
    with Stage(*pools) as stage:
        one, two = phones = [stage.phone(host) for host in hosts]
        sides = tuple(int(":" in host) for host in hosts)
        session, where = stage.session(*phones, pools=sides)
        assert len(PACKETS[2]) == 2048
        for packet in PACKETS:
            one.send(packet, where[0])
            assert two.receive_from() == (packet, where[1])
            two.send(packet, where[1])
            assert one.receive_from() == (packet, where[0])
        octets = sum(map(len, PACKETS))
        for side in (0, 1):
            stage.counted(session, side, packets=5, octets=octets, sent=5, sent_octets=octets, send_failed=0)


def test_rtcp_pair_and_multiplexed() -> None:
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        report = receiver_report()
        one.control.sendto(report, (where[0][0], where[0][1] + 1))
        assert two.control.recvfrom(99) == (report, (where[1][0], where[1][1] + 1))
        # From here on one of them multiplexes: its reports come and go on its RTP port.
        stage.relay.set_aim(session, 0, rtp=one.address, mux=True)
        one.send(report, where[0])
        assert two.control.recvfrom(99) == (report, (where[1][0], where[1][1] + 1))
        two.control.sendto(report, (where[1][0], where[1][1] + 1))
        assert one.receive_from() == (report, where[0])
        stage.counted(session, 0, rtcp=2, sent_rtcp=1, packets=0)
        stage.counted(session, 1, rtcp=1, sent_rtcp=2)


@pytest.mark.parametrize(
    ("junk", "counter"),
    [
        (b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12), "stun"),
        (b"\x16\xfe\xfd" + bytes(60), "dtls"),
        (b"\x10\x00\x12\x34ZRTP" + bytes(20), "zrtp"),
        (b"\x80\x08" + bytes(9), "truncated"),
        (b"\x80\xc9\x00", "truncated"),
        (bytes([0x80, 8]) + bytes(2047), "giant"),
        (bytes(9000), "giant"),
        (b"\x40\x08" + bytes(170), "other"),
        (b"\xc0\x08" + bytes(170), "other"),
        (b"\x10\x08" + bytes(170), "other"),
        (b"", "other"),
    ],
)
def test_junk_is_told_apart_and_dropped(junk: bytes, counter: str) -> None:
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        one.send(junk, where[0])
        stage.counted(session, 0, packets=0, **{counter: 1})
        one.send(rtp(1), where[0])
        assert two.receive() == rtp(1)
        assert one.is_quiet()
        assert two.is_quiet()


def test_rtp_on_the_rtcp_port_is_dropped() -> None:
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        one.control.sendto(rtp(1), (where[0][0], where[0][1] + 1))
        stage.counted(session, 0, other=1, packets=0)
        assert two.is_quiet()


def test_nothing_goes_where_nothing_is_wanted() -> None:
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        stage.relay.set_aim(session, 1, rtp=two.address, receives=False)
        one.send(rtp(1), where[0])
        stage.counted(session, 0, packets=1, unheard=1)
        stage.counted(session, 1, unsendable=1, sent=0)
        stage.relay.set_aim(session, 1, rtp=two.address)
        one.send(rtp(2), where[0])
        assert two.receive() == rtp(2)


def test_no_address_and_address_of_another_family() -> None:
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        for sequence, far_end in enumerate([None, ("2001:db8::1", 4000), ("192.0.2.1", 0)]):
            stage.relay.set_aim(session, 1, rtp=far_end, rtcp=far_end)
            one.send(rtp(sequence), where[0])
            stage.counted(session, 1, unsendable=sequence + 1)


def test_changing_who_hears_whom_loses_nothing() -> None:
    """Every packet is heard by exactly one of two sides while the table changes all the time."""
    with Stage() as stage:
        phones = [stage.phone(f"127.{n}.0.1") for n in (1, 2, 3)]
        session, where = stage.session(*phones)
        heard: list[int] = []
        for sequence in range(300):
            stage.relay.set_hearing(session, {1 + sequence % 2: [0]})
            phones[0].send(rtp(sequence), where[0])
            if sequence % 50 == 49:
                stage.counted(session, 0, packets=sequence + 1, unheard=0)
                for phone in phones[1:]:
                    while not phone.is_quiet():
                        heard.append(numbers(phone.receive())[0])
        assert sorted(heard) == list(range(300))


def conference(stage: Stage) -> tuple[int, list[Phone], list[tuple[str, int]]]:
    phones = [stage.phone(f"127.{n}.0.1") for n in (1, 2, 3, 4)]
    session, where = stage.session(*phones)
    return session, phones, where


def test_one_speaks_to_all_and_each_gets_its_own_stream() -> None:
    with Stage() as stage:
        session, phones, where = conference(stage)
        stage.relay.set_hearing(session, {1: [0], 2: [0, 3], 3: [0]})
        # The second one has heard side 3 before, so its stream is rewritten; the others' are not.
        phones[3].send(rtp(100, 0, ssrc=3), where[3])
        assert numbers(phones[2].receive())[::2] == (100, 3, False)
        stage.relay.set_hearing(session, {1: [0], 2: [0], 3: [0]})
        for sequence in (7, 8):
            packet = rtp(sequence, sequence * 160, ssrc=9)
            phones[0].send(packet, where[0])
            assert phones[1].receive() == packet == phones[3].receive()
            rewritten = phones[2].receive()
            assert numbers(rewritten)[::2] == (101 + sequence - 7, 3, sequence == 7)
            assert rewritten[12:] == packet[12:]


def test_second_speaker_waits_until_the_first_is_silent() -> None:
    with Stage() as stage:
        def waits() -> bool:
            """Whether the second one spoke so soon that it had to; a busy machine may have kept it from that."""
            session, phones, where = conference(stage)
            stage.relay.set_hearing(session, {0: [1, 2]})
            phones[1].send(rtp(1, ssrc=1), where[1])
            assert phones[0].receive() == rtp(1, ssrc=1)
            phones[2].send(rtp(50, ssrc=2), where[2])
            _settled(stage, session, phones[3], where[3])
            first, second = (stage.relay.side_counters(session, side) for side in (1, 2))
            assert second["packets"] == 1
            soon = second["heard_us"] - first["heard_us"] < 60_000
            assert second["unheard"] == soon
            if soon:
                until(lambda: _send_and_see(stage, session, phones, where), "the second speaker is heard")
                assert stage.relay.side_counters(session, 2)["heard_us"] - first["heard_us"] >= 60_000
            assert numbers(phones[0].receive())[::2] == (2, 1, True)
            stage.end(session)
            return soon

        until(waits, "the second one speaks soon after the first")


def _send_and_see(stage: Stage, session: int, phones: list[Phone], where: list[tuple[str, int]]) -> bool:
    before = stage.relay.side_counters(session, 2)
    phones[2].send(rtp(before["packets"] + 50, ssrc=2), where[2])
    _settled(stage, session, phones[3], where[3])
    after = stage.relay.side_counters(session, 2)
    assert after["packets"] == before["packets"] + 1
    return after["unheard"] == before["unheard"]


def _settled(stage: Stage, session: int, phone: Phone, where: tuple[str, int]) -> None:
    """Wait until the thread is done with what came before: a packet is counted first, and what becomes of it later."""
    before = stage.relay.side_counters(session, 3)["packets"]
    phone.send(rtp(before + 1, ssrc=3), where)
    stage.counted(session, 3, packets=before + 1)


def test_payload_types_are_replaced() -> None:
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        stage.relay.map_payloads(session, 1, {96: 101})
        one.send(rtp(1, payload_type=96, marker=True), where[0])
        assert two.receive() == rtp(1, payload_type=101, marker=True)
        two.send(rtp(1, payload_type=96), where[1])
        assert one.receive() == rtp(1, payload_type=96)
        with pytest.raises(ValueError, match="more than 8"):
            stage.relay.map_payloads(session, 1, dict.fromkeys(range(9), 1))


def test_a_flood_on_one_port_starves_no_other() -> None:
    with Stage() as stage:
        one, two, flooder = (stage.phone(f"127.{n}.0.1") for n in (1, 2, 3))
        session, where = stage.session(one, two)
        flooded, (target, _) = stage.session(flooder, flooder)
        for sequence in range(50):
            for _ in range(40):
                flooder.send(b"\x00junk", target)
            one.send(rtp(sequence), where[0])
            assert two.receive() == rtp(sequence)
        until(lambda: (counted := stage.relay.side_counters(flooded, 0))["stun"] + counted["kernel_drops"] > 0, "junk")
        stage.counted(session, 0, packets=50, lost=0)


def test_far_end_that_is_gone_stalls_nothing() -> None:
    """Each packet towards a closed port brings an ICMP port unreachable back."""
    with Stage() as stage:
        one, two, gone = stage.phone("127.1.0.1"), stage.phone("127.2.0.1"), stage.phone("127.3.0.1")
        session, where = stage.session(one, gone)
        gone.close()
        for sequence in range(200):
            one.send(rtp(sequence), where[0])
        stage.counted(session, 0, packets=200)
        stage.counted(session, 1, sent=200, send_failed=0)
        stage.relay.set_aim(session, 1, rtp=two.address, moved=True)
        one.send(rtp(200), where[0])
        assert two.receive() == rtp(200)
        assert stage.relay.totals()["socket_errors"] == 0


def test_what_arrives_is_measured() -> None:
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        for sequence in (1, 2, 4, 3, 8, 8):
            one.send(rtp(sequence, sequence * 160, ssrc=77), where[0])
            if sequence == 1 and stage.offloads:
                # What waits for the thread when the kernel takes a stream over is passed on behind what comes then.
                until(lambda: stage.relay.totals()["offloads"] == 1, "the kernel has the stream")
        stage.counted(session, 0, packets=6, lost=3, out_of_order=1, duplicates=1, ssrc=77)


def test_bad_arguments() -> None:
    with Stage() as stage:
        session, _ = stage.session(stage.phone("127.1.0.1"), stage.phone("127.2.0.1"))
        with pytest.raises(KeyError):
            stage.relay.side_counters(session + 1, 0)
        with pytest.raises(KeyError):
            stage.relay.side_counters(session, 4)
        with pytest.raises(ValueError, match="not two of 4 sides"):
            stage.relay.set_hearing(session, {0: [4]})
        with pytest.raises(ValueError, match="not an IP"):
            stage.relay.set_aim(session, 0, rtp=("phone.example", 4000))
