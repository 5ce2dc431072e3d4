"""Flood rows of the attack list: memory stays bounded, established calls go on, and nothing is amplified."""
import itertools

import pytest

from tests.security.range import EDGE, PBX, PEER, STRANGER, VICTIMS, request
from tests.wire.test_stun import stun

FLOOD = 3000
PORTION = 200


def sources(count: int):
    """Addresses that never sent anything before, from a network on which nobody listens but us."""
    return itertools.islice(
        ((f"{VICTIMS}.{high}.{low}", 5062) for high in range(1, 255) for low in range(1, 255)), count)


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER"])
def test_many_spoofed_sources(ground, method):
    """Nobody gets more than the few 403 that all strangers share, and a call goes on meanwhile."""
    victims = ground.party(("0.0.0.0", 5062))
    _, answer = ground.call()
    for number, source in enumerate(sources(FLOOD)):
        ground.raw(request(method, source=source), source=source)
        if number % PORTION == 0:
            ground.mark()
    ground.mark()
    assert ground.rose("unlisted_dropped") + ground.rose("rate_limited") == FLOOD
    answers = victims.take()
    assert len(answers) < FLOOD / 10
    assert all(data.startswith(b"SIP/2.0 403") and len(data) < 600 for data in answers)
    ground.hang_up(answer)
    ground.pbx.take()
    assert ground.rose("forwarded") <= 3


def test_one_source(ground):
    """A stranger is looked at so often a second and no oftener."""
    stranger = ground.party(STRANGER)
    _, answer = ground.call()
    for number in range(FLOOD):
        stranger.send(request(source=STRANGER))
        if number % PORTION == 0:
            ground.mark()
    ground.mark()
    assert ground.rose("unlisted_dropped") + ground.rose("rate_limited") == FLOOD
    assert ground.rose("rate_limited") > FLOOD / 2
    assert len(stranger.take()) < FLOOD / 10
    ground.hang_up(answer)


def test_a_listed_source_is_held_to_its_rate(ground):
    limited = ground.party(("192.0.2.12", 5060))
    _, answer = ground.call()
    for number in range(500):
        limited.send(request(source=limited.address))
        if number % PORTION == 0:
            ground.mark()
    ground.mark()
    assert ground.rose("rate_limited") > 400
    assert ground.rose("forwarded") < 60
    # The allowed peer is not touched by it.
    ground.hang_up(answer)
    ground.pbx.take()


def test_a_flood_in_the_name_of_a_peer_bans_nobody(ground):
    """Spoofed garbage in the peer's name: the peer itself is served on."""
    for number in range(FLOOD):
        ground.raw(b"INVITE garbage SIP/2.0\r\n\r\n", source=PEER)
        if number % PORTION == 0:
            ground.mark()
    ground.hang_up(ground.call()[1])


def test_a_forbidden_network_gets_few_answers(ground):
    victims = ground.party(("0.0.0.0", 5063))
    for number in range(FLOOD):
        source = (f"198.19.{number // 250}.{number % 250 + 1}", 5063)
        ground.raw(request(source=source), source=source)
        if number % PORTION == 0:
            ground.mark()
    ground.mark()
    assert ground.rose("forbidden") == FLOOD
    assert len(victims.take()) < FLOOD / 10


def test_an_answer_is_not_bigger_than_the_question(ground):
    """No amplification: whatever a stranger sends, the bytes that come back are fewer."""
    stranger = ground.party((STRANGER[0], 5070))
    asked = [request("OPTIONS", source=stranger.address, uri=f"sip:{EDGE[0]}"), request(source=stranger.address),
             b"INVITE sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 198.18.0.1:5070;branch=z9hG4bKa\r\n\r\n", b"\r\n\r\n"]
    for data in asked:
        stranger.send(data)
    ground.mark()
    answers = stranger.take()
    assert len(answers) <= len(asked)
    assert sum(map(len, answers)) <= sum(map(len, asked))


def test_invites_without_end_are_bounded(ground):
    """Calls that nobody answers, more than there is room for: 503 for those over, and the rest goes on."""
    _, answer = ground.call()
    for number in range(FLOOD):
        ground.peer.send(request())
        if number % PORTION == 0:
            ground.pbx.take()
            ground.mark()
    ground.mark()
    ground.pbx.take()
    assert ground.edge.resident() < 400 << 20
    ground.hang_up(answer)


def test_a_pbx_that_is_gone_and_comes_back(ground):
    """Refusals from the network (ICMP) by the hundred: callers hear 503 at once, and the edge goes on hearing."""
    ground.pbx.close()
    for _ in range(10):
        for _ in range(20):
            ground.peer.send(request())
        ground.mark()
    ground.peer.expect(b"SIP/2.0 503")
    ground.edge.wait_stats(lambda stats: stats["transport_errors"] >= 200, "every refusal was heard of")
    ground.pbx = ground.party(PBX)
    ground.hang_up(ground.call()[1])


def test_stun_reflects_nothing(ground):
    """Forged sources get no answer; a listed one, no more than its rate, and little more than it sent."""
    victims = ground.party(("0.0.0.0", 5062))
    _, answer = ground.call()
    for number, source in enumerate(sources(FLOOD)):
        ground.raw(stun(), source=source)
        if number % PORTION == 0:
            ground.mark()
    ground.mark()
    assert ground.rose("unlisted_dropped") + ground.rose("rate_limited") == FLOOD
    assert victims.take() == []
    limited = ground.party(("192.0.2.12", 5060))
    for _ in range(500):
        ground.raw(stun(), source=limited.address)
    ground.mark()
    assert 1 <= ground.rose("stun_answered") < 100
    # STUN begins with two zero bits (RFC 7983); what else may still come answers requests of tests before.
    assert {len(data) for data in limited.take() if data[0] < 64} == {32}
    ground.hang_up(answer)
