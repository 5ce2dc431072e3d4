"""SRTP on the legs of controlled calls: offers with keys are answered with keys, whatever the other leg has."""
import pytest

from sipcore.anchor.mediaerror import MediaError
from sipcore.anchor.sdes import identifiers, usable
from sipcore.wire.sdp import Sdp
from tests.anchor.bridges import AGENT, CALLER, SPARE, TARGET, Far, Table
from tests.anchor.secure import CM, GCM, NEVER, OFFER, PASS, REQUIRE, SecureFar, crypto, lines, profile
from tests.anchor.test_bridgemedia import origin, talk
from tests.media.stage import rtp


class SecureTable(Table):
    def secure(self, side: int, *suites: str) -> SecureFar:
        far = SecureFar(side, *suites)
        self.fars.append(far)
        return far


@pytest.mark.parametrize("proto", ["RTP/SAVP", "RTP/AVP"])
def test_a_secure_caller_and_a_plain_agent(proto: str) -> None:
    with SecureTable() as table:
        caller, agent = table.secure(CALLER), table.far(AGENT)
        caller.first_tag = 7
        media = table.open()
        media.offer_from(CALLER, caller.sdp(f"{proto} 8 0 101", "a=ptime:20"), caller.source, 0)
        offer = media.offer_to(AGENT, 0, CALLER)
        assert (profile(offer), lines(offer)) == ("RTP/AVP", [])
        agent.told(offer)
        media.connect(CALLER, AGENT)
        media.answer_from(AGENT, agent.sdp(), agent.source)
        answer = media.answer_to(CALLER, AGENT)
        assert (profile(answer), len(lines(answer))) == (proto, 1)
        caller.answered(answer)
        assert usable(answer)[0][0] == 7
        assert usable(answer)[0][2] not in caller.keys.values()
        for _ in range(3):
            talk(caller, agent)
        assert (media.srtp(CALLER), media.srtp(AGENT)) == (CM, "")
        # What is not protected is no word of the caller's.
        caller.phone.send(rtp(900), caller.edge)
        table.counted(0, CALLER, unauthentic=1, packets=3)
        media.close()


def test_a_phone_whose_packets_carry_an_identifier_is_heard() -> None:
    with SecureTable() as table:
        caller, agent = table.secure(CALLER), table.far(AGENT)
        caller.mki = b"\x00\x00\x00\x07"
        media = table.open()
        media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        agent.told(media.offer_to(AGENT, 0, CALLER))
        media.connect(CALLER, AGENT)
        media.answer_from(AGENT, agent.sdp(), agent.source)
        answer = media.answer_to(CALLER, AGENT)
        assert identifiers(answer) == [b""], "the edge's own key has none"
        caller.answered(answer)
        for _ in range(3):
            talk(caller, agent)
        # Of a key with another identifier, or of none.
        for caller.mki in (b"\x00\x00\x00\x08", b""):
            caller.say()
        table.counted(0, CALLER, unauthentic=2, packets=3)
        media.close()


@pytest.mark.parametrize("inherits", [True, False])
def test_a_leg_that_moves_into_another_call_and_keeps_its_key(inherits: bool) -> None:
    """After more than 2^16 packets, as in a consultation of half an hour."""
    with SecureTable() as table:
        far, caller, agent = table.secure(AGENT), table.far(CALLER), table.far(AGENT)
        first, second = table.open(), table.open()
        first.offer_from(CALLER, caller.sdp(), caller.source, 0)
        first.set_srtp(AGENT, REQUIRE)
        offer = first.offer_to(AGENT, 0, CALLER)
        first.connect(CALLER, AGENT)
        first.answer_from(AGENT, far.answer(offer), far.source)
        caller.told(first.answer_to(CALLER, AGENT))
        for _ in range(5):
            far.sequence += 20_000
            far.say()
            caller.listen(1)
        second.offer_from(CALLER, caller.sdp(), caller.source, 0)
        agent.told(second.offer_to(AGENT, 0, CALLER))
        second.answer_from(AGENT, agent.sdp(), agent.source)
        caller.told(second.answer_to(CALLER, AGENT))
        second.set_srtp(TARGET, REQUIRE)
        again = second.offer_to(TARGET, 0, CALLER)
        if inherits:
            second.inherit(TARGET, first, AGENT)
        seal = far.seal
        second.answer_from(TARGET, far.answer(again), far.source)
        assert far.seal is seal, "the same key, and the same count of packets"
        second.connect(CALLER, TARGET)
        far.say()
        table.counted(1, TARGET, unauthentic=int(not inherits), packets=int(inherits))
        for media in (first, second):
            media.close()


def test_the_strongest_line_that_is_known_is_taken() -> None:
    with SecureTable() as table:
        caller = table.secure(CALLER, "AES_CM_128_HMAC_SHA1_32", CM, GCM)
        media = table.open()
        more = [crypto(8, "AES_256_CM_HMAC_SHA1_99", bytes(46)), crypto(9, GCM, bytes(44), "|2^20|1:4"),
                crypto(10, GCM, bytes(44), " KDR=5"), crypto(11, GCM, bytes(43))]
        media.offer_from(CALLER, caller.sdp("RTP/SAVP 8 0 101", *more), caller.source, 0)
        answer = media.answer_to(CALLER)
        assert [line[:27] for line in lines(answer)] == [b"a=crypto:3 AEAD_AES_256_GCM"]
        media.close()


def test_a_reoffer_has_the_same_keys_and_makes_no_gap() -> None:
    with SecureTable(srtp=(PASS, REQUIRE)) as table:
        caller, agent = table.secure(CALLER), table.secure(AGENT, GCM)
        media = table.open()
        table.anchor.configure([[0]], [(1, 2, 0, False, (PASS, REQUIRE))], ["AEAD_AES_128_GCM", GCM, CM])
        media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        offer = media.offer_to(AGENT, 0, CALLER)
        assert [(tag, suite) for tag, suite, _ in usable(offer)] == [(1, "AEAD_AES_128_GCM"), (2, GCM), (3, CM)]
        assert len({key for _, _, key in usable(offer)}) == 3
        media.connect(CALLER, AGENT)
        media.answer_from(AGENT, agent.answer(offer), agent.source)
        caller.answered(media.answer_to(CALLER, AGENT))
        talk(caller, agent)
        first = media.descriptions(CALLER)[0]
        # From the caller, with the same keys, and then from the edge.
        media.offer_from(CALLER, caller.sdp("RTP/SAVP 8 0 101", version=1), caller.source, 0)
        again = media.offer_to(AGENT, 0, CALLER)
        assert [(suite, key) for _, suite, key in usable(again)] == [usable(offer)[1][1:]]
        media.answer_from(AGENT, agent.answer(again), agent.source)
        assert media.answer_to(CALLER, AGENT) == first
        talk(caller, agent)
        own = media.offer_to(CALLER, 0, AGENT, anew=True)
        assert (profile(own), usable(own)[0][1:]) == ("RTP/SAVP", usable(first)[0][1:])
        media.answer_from(CALLER, caller.answer(own), caller.source)
        talk(caller, agent)
        assert (media.srtp(CALLER), media.srtp(AGENT)) == (CM, GCM)
        for side in (CALLER, AGENT):
            table.counted(0, side, packets=3, unauthentic=0)
        media.close()


def test_new_keys_of_a_far_end_are_taken_over() -> None:
    with SecureTable() as table:
        caller, agent = table.secure(CALLER), table.far(AGENT)
        media = table.open()
        media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        agent.told(media.offer_to(AGENT, 0, CALLER))
        media.connect(CALLER, AGENT)
        media.answer_from(AGENT, agent.sdp(), agent.source)
        caller.answered(media.answer_to(CALLER, AGENT))
        talk(caller, agent)
        late = caller.wire(rtp(caller.sequence, caller.timestamp, ssrc=caller.ssrc))
        caller.sequence += 1
        caller.keys[CM], caller.seal = bytes(range(30)), None
        media.offer_from(CALLER, caller.sdp(version=2), caller.source, 0)
        media.offer_to(AGENT, 0, CALLER)
        media.answer_from(AGENT, agent.sdp(), agent.source)
        caller.answered(media.answer_to(CALLER, AGENT))
        talk(caller, agent)
        caller.phone.send(late, caller.edge)
        agent.listen(1)
        table.counted(0, CALLER, packets=3, unauthentic=0)
        media.close()


@pytest.mark.parametrize("secure", [True, False])
def test_srtp_that_is_offered_beside_rtp(secure: bool) -> None:
    with SecureTable(srtp=(PASS, OFFER), suites=(CM, GCM)) as table:
        caller = table.far(CALLER)
        agent = table.secure(AGENT) if secure else table.far(AGENT)
        media = table.open()
        media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        offer = media.offer_to(AGENT, 0, CALLER)
        assert (profile(offer), [suite for _, suite, _ in usable(offer)]) == ("RTP/AVP", [CM, GCM])
        media.connect(CALLER, AGENT)
        if isinstance(agent, SecureFar):
            answer = agent.answer(offer)
        else:
            agent.told(offer)
            answer = agent.sdp()
        media.answer_from(AGENT, answer, agent.source)
        told = media.answer_to(CALLER, AGENT)
        assert lines(told) == []
        caller.told(told)
        talk(caller, agent)
        assert media.srtp(AGENT) == (CM if secure else "")
        media.close()


@pytest.mark.parametrize("answer", [
    "RTP/SAVP 8", "RTP/AVP 8", "key 2", "suite", "RTP/SAVP without"])
def test_an_answer_without_the_key_that_was_asked_for(answer: str) -> None:
    with SecureTable(srtp=(PASS, REQUIRE)) as table:
        caller, agent = table.far(CALLER), table.secure(AGENT)
        media = table.open()
        media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        offer = media.offer_to(AGENT, 0, CALLER)
        assert profile(offer) == "RTP/SAVP"
        body = {
            "key 2": Far.sdp(agent, "RTP/SAVP 8", crypto(2, CM, bytes(30))),
            "suite": Far.sdp(agent, "RTP/SAVP 8", crypto(1, "AES_CM_128_HMAC_SHA1_32", bytes(30))),
            "RTP/SAVP without": Far.sdp(agent, "RTP/SAVP 8", "a=crypto:1 nonsense inline:x"),
        }.get(answer) or Far.sdp(agent, answer)
        with pytest.raises(MediaError, match="without a key that goes with the offer"):
            media.answer_from(AGENT, body, agent.source)
        # Nothing has changed: the right answer still counts.
        assert media.pending(AGENT) == "ours"
        media.answer_from(AGENT, agent.answer(offer), agent.source)
        caller.told(media.answer_to(CALLER, AGENT))
        media.connect(CALLER, AGENT)
        talk(caller, agent)
        media.close()


@pytest.mark.parametrize(("mode", "proto", "keys", "text"), [
    (NEVER, "RTP/SAVP", True, "this side has none"),
    (REQUIRE, "RTP/AVP", False, "SRTP is required here"),
    (REQUIRE, "RTP/SAVP", False, "SRTP is required here"),
    (PASS, "RTP/SAVP", False, "without a key that can be used"),
])
def test_an_offer_that_the_rule_does_not_allow(mode: int, proto: str, keys: bool, text: str) -> None:
    with SecureTable(srtp=(mode, PASS)) as table:
        caller = table.secure(CALLER)
        media = table.open()
        offer = caller.sdp(f"{proto} 8") if keys else Far.sdp(caller, f"{proto} 8")
        with pytest.raises(MediaError, match=text) as refused:
            media.offer_from(CALLER, offer, caller.source, 0)
        assert refused.value.status == 488
        assert table.ports == 0
        media.close()


def test_a_side_that_never_has_srtp_is_answered_without() -> None:
    with SecureTable(srtp=(NEVER, PASS)) as table:
        caller = table.secure(CALLER)
        media = table.open()
        media.offer_from(CALLER, caller.sdp("RTP/AVP 8 101"), caller.source, 0)
        answer = media.answer_to(CALLER)
        assert (profile(answer), lines(answer)) == ("RTP/AVP", [])
        media.close()


def test_keys_do_not_pass_over_signalling_that_others_can_read() -> None:
    with SecureTable(srtp=(PASS, OFFER), pools_of=((0,), (0,)), plain_listeners=(0,)) as table:
        caller = table.secure(CALLER)
        media = table.open()
        with pytest.raises(MediaError, match="this side has none"):
            media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        media.offer_from(CALLER, caller.sdp("RTP/AVP 8"), caller.source, 0)
        assert lines(media.offer_to(AGENT, 0, CALLER)) == []
        media.withdraw(AGENT)
        assert len(lines(media.offer_to(TARGET, 1, CALLER))) == 1
        media.set_srtp(SPARE, REQUIRE)
        with pytest.raises(MediaError, match="may not pass over this signalling"):
            media.offer_to(SPARE, 0, CALLER)
        media.close()


def test_a_secure_caller_goes_from_a_plain_agent_to_a_secure_target_and_hears_the_whisper() -> None:
    with SecureTable() as table:
        caller, agent, target = table.secure(CALLER, GCM), table.far(AGENT), table.secure(TARGET)
        media = table.open()
        media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        agent.told(media.offer_to(AGENT, 0, CALLER))
        media.connect(CALLER, AGENT)
        media.answer_from(AGENT, agent.sdp(), agent.source)
        caller.answered(media.answer_to(CALLER, AGENT))
        talk(caller, agent)
        media.set_srtp(TARGET, REQUIRE)
        offer = media.offer_to(TARGET, 0, CALLER)
        assert profile(offer) == "RTP/SAVP"
        assert len({key for told in (offer, media.descriptions(CALLER)[0] or b"") for _, _, key in usable(told)}) == 2
        assert media.answer_from(TARGET, target.answer(offer), target.source)
        # The target alone hears the message, protected, and then the caller.
        assert media.play(TARGET, bytes(160) * 3, "PCMA")
        assert target.listen(3)[0][12:] == bytes(160)
        media.connect(CALLER, TARGET)
        table.await_event("played", TARGET)
        caller.ssrc += 1
        talk(caller, target)
        media.release(AGENT)
        talk(caller, target)
        assert (media.srtp(CALLER), media.srtp(TARGET)) == (GCM, CM)
        media.close()


def test_a_leg_that_goes_to_another_call_gets_other_keys() -> None:
    with SecureTable(srtp=(PASS, REQUIRE)) as table:
        caller, agent = table.secure(CALLER), table.secure(AGENT)
        media, other = table.open(), table.open()
        media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        offer = media.offer_to(AGENT, 0, CALLER)
        media.answer_from(AGENT, agent.answer(offer), agent.source)
        caller.answered(media.answer_to(CALLER, AGENT))
        second = table.far(CALLER, "127.0.0.9")
        other.offer_from(CALLER, second.sdp(), second.source, 0)
        second.told(other.answer_to(CALLER))
        moved = other.offer_to(AGENT, 0, CALLER, anew=True, before=(media, AGENT))
        assert origin(moved)[1:] == [origin(offer)[1], "2", *origin(offer)[3:]]
        assert usable(moved)[0][2] != usable(offer)[0][2]
        media.release(AGENT)
        other.connect(CALLER, AGENT)
        other.answer_from(AGENT, agent.answer(moved), agent.source)
        talk(agent, second)
        media.close()
        other.close()


def test_sections_have_keys_of_their_own() -> None:
    with SecureTable(srtp=(PASS, OFFER)) as table:
        caller = table.far(CALLER)
        media = table.open()
        media.offer_from(CALLER, caller.sdp("RTP/AVPF 8", "a=x:1", "m=audio 4010 RTP/AVP 0", "m=audio 0 RTP/SAVP 8"),
                         caller.source, 0)
        offer = media.offer_to(AGENT, 0, CALLER)
        assert [section.proto for section in Sdp(offer).media] == ["RTP/AVPF", "RTP/AVP", "RTP/AVP"]
        assert len(lines(offer)) == 2
        assert usable(offer, 0)[0][2] != usable(offer, 1)[0][2]
        assert offer.index(b"a=crypto") < offer.index(b"a=x:1")
        media.close()
