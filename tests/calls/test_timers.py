"""Session timers of a controlled call (RFC 4028): each leg has its own, whatever the other one has."""
from typing import Any

import pytest

from .scene import AGENT, CALLER, Scene, sdp

TYPE = ("Content-Type", "application/sdp")
KNOWS = [("Supported", "timer"), ("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE")]
BY_INVITE = [("Supported", "timer"), ("Allow", "INVITE, ACK, BYE, CANCEL")]
KINDS = ("edge", "invite", "peer", "none", "422")


class Side:
    """A phone that answers refreshes, and refreshes where that is its duty.

    kind: who refreshes; invite: the edge, by INVITE, as it takes no UPDATE; none: it knows no session timers; 422: it
    wants longer intervals than it is asked for, and the edge refreshes.
    """

    def __init__(self, phone, kind):
        self.phone = phone
        self.kind = kind
        self.dialog: Any = None
        self.refreshed = []
        """(time, method, Session-Expires) of requests of the edge's."""
        self.refused = 0
        self.seen = set()
        self.bodies = []
        self.answers = []
        self.silent = False

    @property
    def interval(self):
        return 1200 if self.kind == "422" else 600

    def step(self, now):
        for one in self.phone.received():
            if one.name == "BYE":
                self.refreshed.append((now, "BYE", None))
                self.phone.answer(one, 200)
            elif one.name in ("INVITE", "UPDATE"):
                value = one.header("Session-Expires") or ""
                if one.message.cseq in self.seen:
                    # Sent again before this phone had the time to answer.
                    continue
                self.seen.add(one.message.cseq)
                self.refreshed.append((now, one.name, value))
                if self.silent:
                    continue
                if self.kind == "422" and int(value.partition(";")[0]) < self.interval:
                    self.refused += 1
                    self.phone.answer(one, 422, headers=[("Min-SE", str(self.interval))])
                elif self.kind == "invite":
                    self.bodies.append(one.message.body)
                    self.phone.answer(one, 200, body=sdp(self.phone.host), headers=[
                        *BY_INVITE, TYPE, ("Session-Expires", f"{self.interval};refresher=uac")])
                else:
                    self.phone.answer(one, 200, headers=[*KNOWS, ("Session-Expires", f"{self.interval};refresher=uac")])
            elif one.message.is_request is False:
                self.answers.append(one)

    def refresh(self):
        self.dialog.send("UPDATE", headers=[*KNOWS, ("Session-Expires", "600;refresher=uac")])


def up(caller, agent):
    """A call between two such sides."""
    scene = Scene()
    one, other = Side(scene.caller, caller), Side(scene.agent, agent)
    headers = {"edge": [*KNOWS, ("Session-Expires", "600;refresher=uas")],
               "invite": [*BY_INVITE, ("Session-Expires", "600;refresher=uas")],
               "peer": [*KNOWS, ("Session-Expires", "600;refresher=uac")], "none": [],
               "422": [*KNOWS, ("Session-Expires", "1200;refresher=uas"), ("Min-SE", "1200")]}[caller]
    invite = scene.invite(headers=headers)
    more = {"edge": [*KNOWS, ("Session-Expires", "600;refresher=uac")],
            "invite": [*BY_INVITE, ("Session-Expires", "600;refresher=uac")],
            "peer": [*KNOWS, ("Session-Expires", "600;refresher=uas")], "none": [],
            "422": [*KNOWS, ("Session-Expires", "600;refresher=uac")]}[agent]
    scene.agent.answer(invite, 200, body=sdp(AGENT), headers=[TYPE, *more])
    scene.run()
    scene.agent.take("ACK")
    answered = scene.caller.take("100", "200")
    one.dialog, other.dialog = scene.caller.caller_dialog(answered), scene.agent.callee_dialog(invite)
    one.dialog.send("ACK")
    scene.run()
    return scene, one, other, answered


def pass_time(scene, one, other, seconds, *, refreshing=(True, True)):
    for _ in range(seconds // 10):
        scene.run(10_000)
        now = scene.link.now
        for side, does in zip((one, other), refreshing, strict=True):
            side.step(now)
            if side.kind == "peer" and does and now // 10_000 % 30 == 0:
                side.refresh()
        scene.run()
    for side in (one, other):
        side.step(scene.link.now)


@pytest.mark.parametrize("agent", KINDS)
@pytest.mark.parametrize("caller", KINDS)
def test_each_leg_keeps_its_own(caller, agent):
    scene, one, other, answered = up(caller, agent)
    expected = {"edge": "600;refresher=uas", "invite": "600;refresher=uas", "peer": "600;refresher=uac", "none": None,
                "422": "1200;refresher=uas"}
    assert answered.header("Session-Expires") == expected[caller]
    pass_time(scene, one, other, 3700)
    assert scene.call.state == "up"
    for side in (one, other):
        methods = [method for _, method, _ in side.refreshed]
        if side.kind == "edge":
            assert methods == ["UPDATE"] * 12, "every 300 s"
        elif side.kind == "invite":
            assert methods == ["INVITE"] * 12
            assert set(side.bodies) == {sdp(AGENT if side is one else CALLER)}, "what holds, unchanged"
        elif side.kind == "422":
            # Once at the interval that was agreed; where that was less than it wants, it says so once.
            assert set(methods) == {"UPDATE"}
            assert 5 <= len(methods) - side.refused <= 7, "every 600 s"
            assert side.refused == (side is other)
        else:
            assert methods == [], "a leg hears nothing of the other one's timer"
        if side.kind == "peer":
            assert [answer.name for answer in side.answers] == ["200"] * 12
            assert {answer.header("Session-Expires") for answer in side.answers} == {"600;refresher=uac"}
    one.dialog.send("BYE")
    scene.run()
    other.step(scene.link.now)
    scene.run()
    scene.caller.received()
    scene.over()


@pytest.mark.parametrize("agent", KINDS)
@pytest.mark.parametrize("kind", ["edge", "peer"])
def test_a_caller_that_is_gone_ends_the_call_at_its_own_time(kind, agent):
    scene, one, other, _ = up(kind, agent)
    one.silent = True
    pass_time(scene, one, other, 600, refreshing=(False, True))
    assert one.refreshed[-1][1] == "BYE"
    assert other.refreshed[-1][1] == "BYE"
    assert scene.services.events()[-1] == "call.ended"
    scene.over()


@pytest.mark.parametrize("caller", KINDS)
@pytest.mark.parametrize("kind", ["edge", "peer"])
def test_an_agent_that_is_gone_ends_the_call_at_its_own_time(kind, caller):
    scene, one, other, _ = up(caller, kind)
    other.silent = True
    pass_time(scene, one, other, 600, refreshing=(True, False))
    assert one.refreshed[-1][1] == "BYE"
    assert other.refreshed[-1][1] == "BYE"
    scene.over()


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_refresh_with_a_description_stays_on_its_leg(method):
    """As phones without UPDATE refresh: the other one may be in the middle of an exchange of its own."""
    scene, one, other, _ = up("peer", "edge")
    one.dialog.send(method, body=sdp(CALLER), headers=[*KNOWS, TYPE, ("Session-Expires", "600;refresher=uac")])
    scene.run()
    answered = scene.caller.received()[-1]
    assert (answered.name, answered.header("Session-Expires")) == ("200", "600;refresher=uac")
    assert answered.message.body == sdp(AGENT)
    if method == "INVITE":
        one.dialog.send("ACK", cseq=one.dialog.cseq)
        scene.run()
    assert scene.agent.names() == []
    pass_time(scene, one, other, 600)
    assert scene.call.state == "up"


def test_a_change_with_an_interval_crosses():
    """A hold that refreshes as well: for the other one it is a hold, with that leg's own interval."""
    scene, one, _, _ = up("peer", "edge")
    held = sdp(CALLER, version=2, direction="sendonly")
    one.dialog.send("INVITE", body=held, headers=[*KNOWS, TYPE, ("Session-Expires", "600;refresher=uac")])
    scene.run()
    crossed = scene.agent.take("INVITE")
    assert crossed.message.body == held
    assert crossed.header("Session-Expires") == "600;refresher=uac"
    answer = sdp(AGENT, version=2, direction="recvonly")
    scene.agent.answer(crossed, 200, body=answer, headers=[*KNOWS, TYPE, ("Session-Expires", "600;refresher=uac")])
    scene.run()
    assert scene.caller.received()[-1].message.body == answer


def test_an_interval_that_is_too_small_for_a_leg_is_told_there_alone():
    scene, one, other, _ = up("peer", "peer")
    one.dialog.send("UPDATE", headers=[*KNOWS, ("Session-Expires", "30;refresher=uac")])
    scene.run()
    refused = scene.caller.take("422")
    assert refused.header("Min-SE") == "90"
    assert scene.agent.names() == []
    pass_time(scene, one, other, 600)
    assert scene.call.state == "up"
