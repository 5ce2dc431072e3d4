"""Every media port comes back: after BYE, refusal, CANCEL, exhaustion, re-INVITE; and learning has its end.

The edge has four pairs of ports an address, and little patience with a source that is to be learned.
"""
import time
from collections.abc import Iterator

import pytest

from sipcore.wire.message import Message
from tests.edge import EdgeProcess, wait_until
from tests.endpoints import sibling
from tests.security.audio import AudioCall, Studio, Voice, await_whole_pool, configuration
from tests.security.namespace import Namespace
from tests.security.range import PEER, STRANGER, fresh, reply, request

PAIRS = 4
LEARN = 2


@pytest.fixture(scope="module")
def edge(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    text = configuration(f"learn_seconds = {LEARN}\nsilence_seconds = 0\n", 20000, 20000 + 2 * PAIRS - 1)
    with namespace.entered():
        running = EdgeProcess(tmp_path_factory.mktemp("edge"), text)
    with running:
        yield running
        await_whole_pool(namespace, running)


def offer(studio: Studio) -> AudioCall:
    """A call that rings: its ports are open."""
    call = AudioCall(studio)
    assert len(studio.media_sockets()) == 4
    return call


def test_bye(studio):
    call = offer(studio).answer()
    call.talk()
    call.end()


@pytest.mark.parametrize("status", ["486 Busy Here", "488 Not Acceptable Here", "603 Decline"])
def test_a_failed_offer(studio, status):
    call = offer(studio)
    call.respond(call.invite, status)
    studio.peer.expect(b"SIP/2.0 " + status[:3].encode(), call.call_id.encode())
    studio.await_closed_ports()


def test_cancel(studio):
    unique = fresh()
    invite = request(unique=unique)
    studio.peer.send(invite)
    arrived = studio.pbx.expect(b"INVITE", unique.encode())
    studio.pbx.send(reply(arrived, "183 Session Progress", body=Message(invite).body))
    studio.peer.expect(b"SIP/2.0 183", unique.encode())
    studio.peer.send(sibling(invite, "CANCEL"))
    studio.pbx.expect(b"CANCEL", unique.encode())
    assert len(studio.media_sockets()) == 4
    studio.pbx.send(reply(arrived, "487 Request Terminated"))
    studio.peer.expect(b"SIP/2.0 487", unique.encode())


def test_an_answer_that_makes_no_sense(studio):
    """The offer was good and the answer is not: its ports come back when the caller gives up."""
    call = offer(studio)
    call.respond(call.invite, "200 OK", b"v=0\r\no=- 1 1 IN IP4 192.0.2.20\r\ns=-\r\nt=0 0\r\nm=audio\r\n")
    studio.peer.expect(b"SIP/2.0 ", call.call_id.encode())
    studio.await_closed_ports()


@pytest.mark.parametrize("body", [
    b"v=0\r\n", b"m=audio 4000 RTP/AVP 0\r\n", b"\x00" * 200, b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\n"
    b"c=IN IP4 999.1.1.1\r\nm=audio 99999 RTP/AVP 0\r\n",
], ids=["cut", "audio-alone", "nul", "numbers"])
def test_an_offer_that_makes_no_sense(studio, body):
    studio.peer.send(request(body=body))
    refusal = Message(studio.peer.expect(b"SIP/2.0 488"))
    assert "sipedge" in str(refusal.header("Warning"))
    assert studio.media_sockets() == []
    studio.nothing_forwarded()


def test_no_port_is_free(studio):
    """Two calls take all; the third is told 503 and leaves nothing; when one ends, the next one has its ports."""
    calls = [AudioCall(studio).answer() for _ in range(2)]
    assert len(studio.media_sockets()) == 4 * PAIRS // 2
    for _ in range(5):
        studio.peer.send(request())
        refusal = Message(studio.peer.expect(b"SIP/2.0 503"))
        assert refusal.header("Retry-After") is not None
    for call in calls:
        call.talk()
    calls[0].end()
    wait_until(lambda: len(studio.media_sockets()) == 4, "the ports of the first call are closed")
    again = AudioCall(studio).answer()
    again.talk()
    calls[1].talk()
    for call in (again, calls[1]):
        call.end()
    studio.edge.wait_stats(lambda stats: studio.rose("media_no_ports") == 5, "the refusals are counted")


def test_reinvites_take_no_more_ports(studio):
    """Audio that moves, a stream that is added and refused, and one that is refused by the other side (488)."""
    call = offer(studio).answer()
    before = studio.media_sockets()
    for _ in range(3):
        call.reinvite(call.description(studio.voice(PEER[0])))
        assert studio.media_sockets() == before
        more = call.description(call.one) + b"m=audio 4444 RTP/AVP 0\r\n"
        call.reinvite(more, "488 Not Acceptable Here")
        wait_until(lambda: studio.media_sockets() == before, "what only the refused offer wanted is closed")
        call.reinvite(call.description(call.one))
    call.talk()
    call.end()


def test_after_learning_only_the_signalled_source(studio):
    """The window is over and nobody was learned: not even another port of the right host is taken any more."""
    call = AudioCall(studio).answer()
    over = time.monotonic() + LEARN
    strangers = [studio.voice(host, ssrc=call.one.ssrc) for host in (PEER[0], STRANGER[0])]
    wait_until(lambda: time.monotonic() > over, "the window is over")
    for stranger in strangers:
        stranger.say(b"too late", call.for_one)
    call.talk()
    for stranger in strangers:
        stranger.say(b"too late", call.for_one)
    call.talk()
    assert all(stranger.silent() for stranger in strangers)
    assert call.end()["caller"]["wrong_source"] == 4


def test_after_learning_the_latch_stands(studio):
    """Who was learned is kept: not even the signalled address and port takes it back, and a stranger never."""
    call = AudioCall(studio)
    near = studio.voice(PEER[0], ssrc=7)
    call.answer()
    over = time.monotonic() + LEARN
    said = near.say(b"first", call.for_one)
    assert call.other.hear() == (said, call.for_other)
    wait_until(lambda: time.monotonic() > over, "the window is over")
    late: list[Voice] = [call.one, studio.voice(STRANGER[0], ssrc=7), studio.voice(PEER[0], ssrc=7)]
    for voice in late:
        near.say(b"still here", call.for_one)
        assert call.other.hear()[0][12:] == b"still here"
        voice.say(b"too late", call.for_one)
    call.talk(near)
    assert call.end()["caller"]["wrong_source"] == len(late)


def test_a_moved_stream_is_learned_anew(studio):
    """A re-INVITE opens the window again, for what it says, long after the first one was over."""
    call = AudioCall(studio).answer()
    call.talk()
    over = time.monotonic() + LEARN
    wait_until(lambda: time.monotonic() > over, "the window is over")
    moved = studio.voice("192.0.2.40")
    call.reinvite(call.description(moved))
    call.talk(moved)
    call.one.say(b"from where the phone was", call.for_one)
    call.talk(moved)
    assert call.end()["caller"]["wrong_source"] == 1
