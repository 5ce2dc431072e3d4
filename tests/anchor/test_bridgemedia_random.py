"""Controlled calls in any order of events: nothing is half-done, and every port comes back."""
import select
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sipcore.anchor.anchor import Anchor
from sipcore.anchor.bridges import Bridges
from sipcore.anchor.mediaerror import MediaError
from sipcore.media.ports import PortPool
from sipcore.media.relay import MediaRelay
from sipcore.wire.sdp import Sdp
from tests.anchor.bench import AUDIO, PASS, REFUSE, SIGNALLED_FIRST, VIDEO
from tests.anchor.bridges import SPARE, Told
from tests.media.stage import HOST, PATIENCE

SOURCE = ("127.0.0.2", 5060)
PAIRS = 20
"""Fewer than all calls together may want."""

sides = st.integers(0, SPARE)
codecs = st.lists(st.sampled_from(["0", "8", "18", "96", "101"]), min_size=1, max_size=5, unique=True)
sections = st.lists(st.tuples(st.sampled_from(["audio", "video", "image"]), st.sampled_from(["RTP/AVP", "RTP/SAVP"]),
                              codecs, st.sampled_from([0, 4000, 4000, 4000]),
                              st.sampled_from(["", "a=sendonly", "a=inactive", "a=rtcp-mux", "c=IN IP4 0.0.0.0"])),
                    min_size=1, max_size=3)


def described(parts: Any) -> bytes:
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.2", "s=-", "c=IN IP4 127.0.0.2", "t=0 0"]
    for kind, protocol, formats, port, more in parts:
        lines.append(f"m={kind} {port} {protocol} {' '.join(formats)}")
        lines += [more] * bool(more)
        lines += [f"a=rtpmap:{one} {name}" for one, name in (("96", "opus/48000/2"), ("101", "telephone-event/8000"))
                  if one in formats]
    return "".join(f"{line}\r\n" for line in lines).encode()


PLAIN = described([("audio", "RTP/AVP", ["8", "101"], 4000, "")])
UP = ("exchange", 0, 1, PLAIN, PLAIN, True)
descriptions = sections.map(described) | st.just(PLAIN)
exchanges = st.tuples(st.just("exchange"), sides, sides, descriptions, descriptions, st.booleans())
invitations = st.tuples(st.just("invite"), sides, sides, descriptions)
steps = st.one_of(
    exchanges, exchanges, exchanges, invitations, invitations,
    st.tuples(st.just("offer_from"), sides, descriptions),
    st.tuples(st.just("offer_to"), sides, sides | st.none()),
    st.tuples(st.just("answer_from"), sides, descriptions, st.booleans()),
    st.tuples(st.just("answer_to"), sides, sides | st.none(), st.booleans()),
    st.tuples(st.just("withdraw"), sides),
    st.tuples(st.just("connect"), sides, sides),
    st.tuples(st.just("isolate"), sides),
    st.tuples(st.just("play"), sides, st.booleans()),
    st.tuples(st.just("stop_playing"), sides),
    st.tuples(st.just("agreed"), sides, sides),
    st.tuples(st.just("release"), sides),
)


class World:
    """One relay for all examples, so that what one leaves behind is seen."""

    def __init__(self) -> None:
        self.pool = PortPool(HOST, 20000, 20000 + 2 * PAIRS - 1, quarantine=0)
        self.relay = MediaRelay([self.pool], sessions=6, nice=0, realtime=False, places=2)
        self.bridges: dict[int, Bridges] = {}
        for other in (REFUSE, PASS):
            anchor = Anchor(self.relay, 1)
            anchor.configure([[0]], [(SIGNALLED_FIRST, 1 << AUDIO | 1 << VIDEO * (other == REFUSE), other)])
            self.bridges[other] = Bridges(anchor)

    def take(self) -> None:
        for kind, session, _, side, value, address in self.relay.take_events():
            any(bridges.take(kind, session, side, value, address) for bridges in self.bridges.values())

    def settle(self) -> None:
        # A session without ports (every offer refused) is reported after the last pair is back.
        while self.pool.used or self.relay.open_sessions:
            ready, _, _ = select.select([self.relay.fileno()], [], [], PATIENCE)
            assert ready, f"{self.pool.used} pairs of ports, {self.relay.open_sessions} sessions did not come back"
            self.take()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    world.relay.stop()


def failure(action: Callable[[], None]) -> Exception | None:
    """What an action raises of what it may."""
    try:
        action()
    except (MediaError, ValueError) as error:
        return error
    return None


def do(media: Any, step: Any) -> None:
    name, side, *rest = step
    if name == "offer_from":
        media.offer_from(side, rest[0], SOURCE, 0)
        assert media.pending(side) == "theirs"
    elif name == "offer_to":
        offer = media.offer_to(side, 0, rest[0])
        assert media.pending(side) == "ours"
        open_audio = [section for section in Sdp(offer).media if section.port and section.kind == "audio"]
        assert {section.connection for section in open_audio} <= {HOST}
    elif name == "answer_from":
        media.answer_from(side, rest[0], SOURCE, rest[1])
    elif name == "answer_to":
        offered = media.pending(side) == "theirs"
        answer = media.answer_to(side, *rest)
        assert offered
        assert media.pending(side) == ("" if rest[1] else "theirs")
        assert Sdp(answer).media[0].connection == HOST or not Sdp(answer).media[0].port or b"m=audio" not in answer
    elif name == "exchange":
        other, offer, answer, final = rest
        media.offer_from(side, offer, SOURCE, 0)
        media.offer_to(other, 0, side)
        media.answer_from(other, answer, SOURCE, final)
        media.answer_to(side, other, final)
    elif name == "invite":
        media.offer_to(side, 0, rest[0])
        media.answer_from(side, rest[1], SOURCE)
    elif name == "play":
        codec = (media.codecs(side) or ("PCMA",))[0]
        media.play(side, bytes(160), codec if codec in ("PCMU", "PCMA") else "PCMA", rest[0])
    elif name == "agreed":
        agreed = media.agreed(side, rest[0])
        media.apply(agreed)
        assert (agreed.outcome == "reinvite") == (agreed.side in (side, rest[0]))
    else:
        getattr(media, name)(side, *rest)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(other=st.sampled_from([REFUSE, PASS]), events=st.booleans(),
       calls=st.lists(st.lists(steps, max_size=25) | st.lists(steps, max_size=25).map(lambda more: [UP, *more]),
                      min_size=1, max_size=2))
def test_every_port_comes_back(world: World, other: int, events: bool, calls: list[list[Any]]) -> None:
    opened = [world.bridges[other].open(owner=Told()) for _ in calls]
    for media, sequence in zip(opened, calls, strict=True):
        for step in sequence:
            before = media.descriptions(step[1]) if step[0] not in ("exchange", "invite") else None
            error = failure(lambda media=media, step=step: do(media, step))  # type: ignore[misc]
            if isinstance(error, MediaError):
                assert error.status in (488, 491, 503)
                assert before is None or media.descriptions(step[1]) == before
            # Else it is the caller's own fault: nobody is there, or nothing was offered.
            assert error is None or isinstance(error, MediaError) or "side" in str(error)
            if events:
                world.take()
    for media in opened:
        if events:
            for side in range(SPARE + 1):
                media.release(side)
        media.close()
    world.settle()
    assert world.bridges[other].statistics()["bridge_calls_up"] == 0


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=descriptions, edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 5), st.binary(max_size=8))))
def test_descriptions_that_are_broken(world: World, first: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    broken = first
    for at, cut, text in edits:
        broken = broken[:at] + text + broken[at + cut:]
    media = world.bridges[REFUSE].open()

    def call() -> None:
        media.offer_from(0, broken, SOURCE, 0)
        media.answer_from(1, media.offer_to(1, 0, 0), SOURCE)
        media.answer_to(0, 1)
        media.agreed(0, 1)
        media.offer_to(2, 0, 0)

    error = failure(call)
    assert error is None or (isinstance(error, MediaError) and error.status == 488)
    media.close()
    world.settle()
