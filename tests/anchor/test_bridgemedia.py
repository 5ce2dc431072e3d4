"""Offer and answer of a controlled call's legs: what each is told, what is refused, and what flows then."""
import pytest

from sipcore.anchor.mediaerror import MediaError
from sipcore.media.ports import PortPool
from sipcore.wire.sdp import Sdp
from tests.anchor.bench import AUDIO, PASS, VIDEO
from tests.anchor.bridges import AGENT, CALLER, TARGET, Far, Table, goes_on
from tests.media.stage import HOST, numbers


def origin(description: bytes) -> list[str]:
    return description.decode().splitlines()[1].split()


def audio(description: bytes) -> str:
    return next(line for line in description.decode().splitlines() if line.startswith("m=audio"))


def talk(one: Far, other: Far) -> None:
    """Both hear each other, one packet."""
    one.say()
    other.say()
    assert other.listen(1)[0][12:] == one.voice[(one.said - 1) % 50 * 160:][:160]
    assert one.listen(1)[0][12:] == other.voice[(other.said - 1) % 50 * 160:][:160]


def test_each_leg_is_told_the_edge_and_an_origin_of_its_own() -> None:
    with Table() as table:
        caller, agent = table.far(CALLER), table.far(AGENT)
        media = table.open()
        media.offer_from(CALLER, caller.sdp("RTP/AVP 8 0 101", "a=ptime:30", "a=x-unknown:1"), caller.source, 0)
        offer = media.offer_to(AGENT, 0, CALLER)
        agent.told(offer)
        port = agent.edge[1]
        assert offer == (f"v=0\r\no={' '.join(origin(offer))[2:]}\r\ns=phone\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
                         f"m=audio {port} RTP/AVP 8 0 101\r\na=ptime:30\r\na=x-unknown:1\r\n"
                         "a=rtpmap:101 telephone-event/8000\r\n").encode()
        media.answer_from(AGENT, agent.sdp("RTP/AVP 8 101"), agent.source)
        answer = media.answer_to(CALLER, AGENT)
        caller.told(answer)
        one, other = origin(offer), origin(answer)
        assert one[0] == other[0] == "o=-"
        assert one[1] != other[1]
        assert (one[2], other[2]) == ("1", "1")
        assert one[3:] == other[3:] == ["IN", "IP4", HOST]
        assert port != caller.edge[1]
        media.connect(CALLER, AGENT)
        talk(caller, agent)
        assert media.codecs(CALLER) == media.codecs(AGENT) == ("PCMA",)
        assert {side: figures["packets"] for side, figures in media.close().items()} == {CALLER: 1, AGENT: 1}


def test_the_version_rises_only_with_a_change() -> None:
    with Table() as table:
        media, caller, agent = table.call()
        # A session refresh: the same again.
        media.offer_from(CALLER, caller.sdp(version=2), caller.source, 0)
        offer = media.offer_to(AGENT, 0, CALLER)
        assert origin(offer)[2] == "1"
        media.answer_from(AGENT, agent.sdp(), agent.source)
        assert origin(media.answer_to(CALLER, AGENT))[2] == "1"
        # Hold, and resume.
        for version, hold, held in (("2", "a=sendonly", "a=recvonly"), ("3", "a=sendrecv", "a=sendrecv")):
            media.offer_from(CALLER, caller.sdp("RTP/AVP 8 0 101", hold), caller.source, 0)
            offer = media.offer_to(AGENT, 0, CALLER)
            assert hold in offer.decode()
            assert origin(offer)[2] == version
            media.answer_from(AGENT, agent.sdp("RTP/AVP 8 0 101", held), agent.source)
            answer = media.answer_to(CALLER, AGENT)
            assert held in answer.decode()
            assert origin(answer)[2] == version
        # Asked for an offer, the edge says the same again.
        assert media.offer_to(AGENT, 0) == offer
        assert media.pending(AGENT) == "ours"
        media.answer_from(AGENT, agent.sdp(), agent.source)
        talk(caller, agent)
        media.close()


def test_a_reoffer_that_is_refused_changes_nothing() -> None:
    with Table(kinds=(AUDIO, VIDEO)) as table:
        media, caller, agent = table.call()
        talk(caller, agent)
        before = media.descriptions(CALLER), media.descriptions(AGENT)
        more = caller.sdp("RTP/AVP 0 101", "m=video 5000 RTP/AVP 96", "c=IN IP4 127.0.0.2")
        media.offer_from(CALLER, more, caller.source, 0)
        assert media.pending(CALLER) == "theirs"
        media.offer_to(AGENT, 0, CALLER)
        assert table.ports == 4
        with pytest.raises(MediaError, match="no answer yet") as glare:
            media.offer_from(AGENT, agent.sdp(), agent.source, 0)
        assert glare.value.status == 491
        media.withdraw(AGENT)
        media.withdraw(CALLER)
        table.await_ports(2)
        assert before == (media.descriptions(CALLER), media.descriptions(AGENT))
        assert (media.pending(CALLER), media.pending(AGENT)) == ("", "")
        talk(caller, agent)
        # What was refused had the next version.
        media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        assert origin(media.offer_to(AGENT, 0, CALLER))[2] == "3"
        media.close()


def test_early_media_and_then_the_answer() -> None:
    with Table() as table:
        caller, agent = table.far(CALLER), table.far(AGENT)
        media = table.open()
        media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        agent.told(media.offer_to(AGENT, 0, CALLER))
        media.connect(CALLER, AGENT)
        caller.told(media.descriptions(CALLER)[0] or caller.sdp())
        assert media.answer_from(AGENT, agent.sdp(), agent.source, final=False)
        early = media.answer_to(CALLER, AGENT, final=False)
        caller.told(early)
        talk(caller, agent)
        assert media.pending(CALLER) == "theirs"
        assert media.answer_from(AGENT, agent.sdp(), agent.source)
        assert media.answer_to(CALLER, AGENT) == early
        # What comes again is no answer any more.
        assert not media.answer_from(AGENT, agent.sdp("RTP/AVP 0"), agent.source)
        talk(caller, agent)
        goes_on(caller.heard, missing=0)
        media.close()


def test_another_fork_answers() -> None:
    with Table() as table:
        caller, agent, other = table.far(CALLER), table.far(AGENT), table.far(AGENT, "127.0.0.9")
        media = table.open()
        media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        agent.told(media.offer_to(AGENT, 0, CALLER))
        other.edge = agent.edge
        media.connect(CALLER, AGENT)
        media.answer_from(AGENT, agent.sdp(), agent.source, final=False)
        caller.told(media.answer_to(CALLER, AGENT, final=False))
        talk(caller, agent)
        media.answer_from(AGENT, other.sdp(), other.source)
        media.answer_to(CALLER, AGENT)
        agent.say()
        talk(caller, other)
        assert media.close()[AGENT]["wrong_source"] == 1


def test_offerless_invite() -> None:
    with Table() as table:
        caller, agent = table.far(CALLER), table.far(AGENT)
        media = table.open()
        media.offer_from(AGENT, agent.sdp(), agent.source, 0)
        caller.told(media.offer_to(CALLER, 0, AGENT))
        media.answer_from(CALLER, caller.sdp("RTP/AVP 0 101"), caller.source)
        agent.told(media.answer_to(AGENT, CALLER))
        media.connect(CALLER, AGENT)
        talk(caller, agent)
        target = table.target(media)
        assert media.agreed(CALLER, TARGET).outcome == "same"
        media.connect(CALLER, TARGET)
        talk(caller, target)
        media.close()


def test_hold_is_answered_here_while_nobody_else_is_asked() -> None:
    with Table() as table:
        media, caller, _ = table.call()
        target = table.target(media, "RTP/AVP 0 101")
        for said, answered in (("sendonly", "recvonly"), ("inactive", "inactive"), ("sendrecv", "sendrecv")):
            media.offer_from(TARGET, target.sdp("RTP/AVP 18 0 101", f"a={said}", "a=ptime:20"), target.source, 0)
            answer = media.answer_to(TARGET)
            assert audio(answer) == f"m=audio {target.edge[1]} RTP/AVP 0 101"
            assert f"a={answered}\r\n" in answer.decode()
            assert Sdp(answer).media[0].connection == HOST
        media.offer_from(TARGET, target.sdp("RTP/AVP 18"), target.source, 0)
        with pytest.raises(MediaError, match="none of the codecs") as refused:
            media.answer_to(TARGET)
        assert refused.value.status == 488
        media.withdraw(TARGET)
        media.connect(CALLER, TARGET)
        caller.payload = target.payload = 0
        talk(caller, target)
        media.close()


def test_nothing_is_sent_to_one_that_holds() -> None:
    with Table() as table:
        media, caller, agent = table.call()
        talk(caller, agent)
        media.offer_from(CALLER, caller.sdp("RTP/AVP 8 0 101", "a=inactive"), caller.source, 0)
        media.offer_to(AGENT, 0, CALLER)
        media.answer_from(AGENT, agent.sdp("RTP/AVP 8 0 101", "a=inactive"), agent.source)
        media.answer_to(CALLER, AGENT)
        agent.say(3)
        # What follows comes through, and nothing of before with it.
        media.offer_from(CALLER, caller.sdp("RTP/AVP 8 0 101"), caller.source, 0)
        media.offer_to(AGENT, 0, CALLER)
        session = 0
        table.counted(session, CALLER, unsendable=3)
        media.answer_from(AGENT, agent.sdp("RTP/AVP 8 0 101"), agent.source)
        media.answer_to(CALLER, AGENT)
        talk(caller, agent)
        assert numbers(caller.heard[1])[0] == numbers(caller.heard[0])[0] + 4
        media.close()


SRTP = "RTP/SAVP 8 0 101"


@pytest.mark.parametrize(("media_line", "more", "text"), [
    (SRTP, (), "without a key"),
    (SRTP, ("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "|1:17",), "without a key"),
    ("UDP/TLS/RTP/SAVPF 8", (), "DTLS"),
    ("RTP/AVP 8", ("c=IN IP4 239.1.1.1",), "multicast"),
    ("RTP/AVP", (), "session description"),
    ("RTP/AVP 200", (), "session description"),
    ("RTP/AVP 8", ("c=IN IP6 127.0.0.1",), "session description"),
    ("RTP/AVP 8", ("b=nonsense",), "session description"),
])
def test_an_offer_that_cannot_be(media_line: str, more: tuple[str, ...], text: str) -> None:
    with Table() as table:
        caller = table.far(CALLER)
        media = table.open()
        with pytest.raises(MediaError, match=text) as refused:
            media.offer_from(CALLER, caller.sdp(media_line, *more), caller.source, 0)
        assert (refused.value.status, refused.value.reason) == (488, "Not Acceptable Here")
        assert dict(refused.value.headers)["Warning"][:4].rstrip().isdigit()
        assert table.ports == 0
        assert media.close() == {}


def test_srtp_without_a_key_is_refused_beside_rtp() -> None:
    with Table() as table:
        caller, agent = table.far(CALLER), table.far(AGENT)
        media = table.open()
        offer = caller.sdp(SRTP, "a=crypto:1 x inline:y", f"m=audio {caller.phone.address[1]} RTP/AVP 8 101")
        media.offer_from(CALLER, offer, caller.source, 0)
        told = media.offer_to(AGENT, 0, CALLER)
        assert [section.port > 0 for section in Sdp(told).media] == [False, True]
        assert b"crypto" not in told
        agent.told(told, section=1)
        answer = agent.sdp("RTP/SAVP 8", f"m=audio {agent.phone.address[1]} RTP/AVP 8")
        media.answer_from(AGENT, answer.replace(b"m=audio", b"m=audio 0 RTP/SAVP 8\r\na=x:", 1), agent.source)
        caller.told(media.answer_to(CALLER, AGENT), section=1)
        media.connect(CALLER, AGENT)
        talk(caller, agent)
        assert table.ports == 2
        media.close()


def test_what_leads_around_the_edge_is_taken_out() -> None:
    with Table() as table:
        caller = table.far(CALLER)
        media = table.open()
        ways = ("a=candidate:1 1 UDP 1 127.0.0.2 4000 typ host", "a=ice-ufrag:x", "a=ice-pwd:y", "a=setup:actpass",
                "a=fingerprint:sha-256 AA", "a=crypto:1 x inline:y", "a=zrtp-hash:1 z", "a=pcfg:1 t=1",
                "a=tcap:1 RTP/SAVP")
        media.offer_from(CALLER, caller.sdp("RTP/AVP 8", *ways, "a=kept:1"), caller.source, 0)
        told = media.offer_to(AGENT, 0, CALLER).decode()
        assert [line for line in told.splitlines() if line.startswith("a=")] == ["a=kept:1"]
        assert "127.0.0.2" not in told
        media.close()


VIDEO_LINES = ("m=video 5000 RTP/AVP 96", "c=IN IP4 127.0.0.2", "a=rtpmap:96 H264/90000")


def test_other_kinds_are_refused() -> None:
    with Table() as table:
        caller, agent = table.far(CALLER), table.far(AGENT)
        media = table.open()
        media.offer_from(CALLER, caller.sdp("RTP/AVP 8", *VIDEO_LINES), caller.source, 0)
        assert Sdp(media.offer_to(AGENT, 0, CALLER)).media[1].port == 0
        media.answer_from(AGENT, agent.sdp("RTP/AVP 8", "m=video 0 RTP/AVP 96"), agent.source)
        assert Sdp(media.answer_to(CALLER, AGENT)).media[1].port == 0
        with pytest.raises(MediaError, match="no media of a kind"):
            media.offer_from(AGENT, agent.sdp("RTP/AVP 96", kind="video"), agent.source, 0)
        media.close()


def test_a_kind_that_passes_does_so_between_two_only() -> None:
    with Table(other=PASS) as table:
        caller, agent = table.far(CALLER), table.far(AGENT)
        media = table.open()
        media.offer_from(CALLER, caller.sdp("RTP/AVP 8", *VIDEO_LINES), caller.source, 0)
        video = Sdp(media.offer_to(AGENT, 0, CALLER)).media[1]
        assert (video.connection, video.port) == ("127.0.0.2", 5000)
        lines = "m=video 6000 RTP/AVP 96", "c=IN IP4 127.0.0.3", "a=rtpmap:96 H264/90000"
        media.answer_from(AGENT, agent.sdp("RTP/AVP 8", *lines), agent.source)
        video = Sdp(media.answer_to(CALLER, AGENT)).media[1]
        assert (video.connection, video.port) == ("127.0.0.3", 6000)
        target = table.far(TARGET)
        assert Sdp(media.offer_to(TARGET, 0, CALLER)).media[1].port == 0
        media.answer_from(TARGET, target.sdp("RTP/AVP 8", "m=video 0 RTP/AVP 96"), target.source)
        agreed = media.agreed(CALLER, TARGET)
        assert (agreed.outcome, agreed.side, agreed.from_side) == ("reinvite", CALLER, TARGET)
        assert Sdp(media.offer_to(CALLER, 0, TARGET)).media[1].port == 0
        media.answer_from(CALLER, caller.sdp("RTP/AVP 8", "m=video 0 RTP/AVP 96"), caller.source)
        assert media.agreed(CALLER, TARGET).outcome == "same"
        media.close()


def test_no_ports() -> None:
    with Table(PortPool(HOST, 20000, 20003, quarantine=0)) as table:
        media, caller, agent = table.call()
        with pytest.raises(MediaError, match="no media port") as full:
            media.offer_to(TARGET, 0, CALLER)
        assert (full.value.status, full.value.reason) == (503, "Service Unavailable")
        assert ("Retry-After", "10") in full.value.headers
        assert media.free_side() == TARGET
        talk(caller, agent)
        second = table.open()
        with pytest.raises(MediaError, match="no media port"):
            second.offer_from(CALLER, caller.sdp(), caller.source, 0)
        second.close()
        media.close()


def test_a_call_of_two_sections_that_finds_ports_for_one_keeps_none() -> None:
    with Table(PortPool(HOST, 20000, 20001, quarantine=0)) as table:
        caller = table.far(CALLER)
        media = table.open()
        with pytest.raises(MediaError, match="no media port"):
            media.offer_from(CALLER, caller.sdp("RTP/AVP 8", "m=audio 5000 RTP/AVP 8"), caller.source, 0)
        table.await_ports(0)
        media.close()


def test_legs_on_two_media_addresses() -> None:
    pools = PortPool(HOST, 20000, 20099, quarantine=0), PortPool("127.0.0.77", 20000, 20099, quarantine=0)
    with Table(*pools, pools_of=((0,), (1,))) as table:
        caller, agent = table.far(CALLER), table.far(AGENT)
        media = table.open()
        media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        agent.told(media.offer_to(AGENT, 1, CALLER))
        media.answer_from(AGENT, agent.sdp(), agent.source)
        caller.told(media.answer_to(CALLER, AGENT))
        assert (caller.edge[0], agent.edge[0]) == (HOST, "127.0.0.77")
        media.connect(CALLER, AGENT)
        talk(caller, agent)
        media.close()


def test_an_answer_cannot_have_more_than_was_offered() -> None:
    with Table() as table:
        caller, agent = table.far(CALLER), table.far(AGENT)
        media = table.open()
        media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        media.offer_to(AGENT, 0, CALLER)
        with pytest.raises(MediaError, match="more media sections"):
            media.answer_from(AGENT, agent.sdp("RTP/AVP 8", "m=audio 5000 RTP/AVP 8"), agent.source)
        assert media.pending(AGENT) == "ours"
        media.close()


def test_a_section_that_is_answered_with_port_0_gives_its_ports_back() -> None:
    with Table() as table:
        caller, agent = table.far(CALLER), table.far(AGENT)
        media = table.open()
        media.offer_from(CALLER, caller.sdp("RTP/AVP 8", "m=audio 5000 RTP/AVP 8"), caller.source, 0)
        agent.told(media.offer_to(AGENT, 0, CALLER))
        assert table.ports == 4
        media.answer_from(AGENT, agent.sdp("RTP/AVP 8", "m=audio 0 RTP/AVP 8"), agent.source)
        caller.told(media.answer_to(CALLER, AGENT))
        table.await_ports(2)
        media.connect(CALLER, AGENT)
        talk(caller, agent)
        media.close()


def test_misuse_is_said() -> None:
    with Table() as table:
        media = table.open()
        for wrong in (lambda: media.answer_to(CALLER), lambda: media.agreed(CALLER, AGENT),
                      lambda: media.offer_to(AGENT, 0, CALLER), lambda: media.hear({0: [4]}),
                      lambda: media.connect(0, 0), lambda: media.connect(4, 0), lambda: media.isolate(-1)):
            with pytest.raises(ValueError, match=r"nobody is on|not (two|one) of"):
                wrong()
        caller = table.far(CALLER)
        media.close()
        assert media.close() == {}
        with pytest.raises(ValueError, match="closed"):
            media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        with pytest.raises(ValueError, match="no profile"):
            table.bridges.open(profile=2)
