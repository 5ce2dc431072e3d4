"""Every event in every state of a leg, and long chains of them: whatever a far end, an owner and the clock do, a leg
ends exactly once, every token has one outcome, and neither transactions, dialogs nor timers are left."""
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sipcore.base.errors import LimitExceeded
from sipcore.stack.handler import Handler
from sipcore.stack.legowner import LegSettings
from sipcore.stack.outgoing import Outgoing
from tests.stack.legs import EVE, Phone, Scene, sdp

BODY, TIMER = sdp("192.0.2.3"), [("Supported", "timer, 100rel"), ("Allow", "INVITE, UPDATE, SUBSCRIBE")]
RELIABLE = [("Require", "100rel"), ("RSeq", "1")]

ANSWERS: dict[str, tuple[int, list[tuple[str, str]], bytes]] = {
    "100": (100, [], b""), "180": (180, [], b""), "183": (183, TIMER, BODY), "183r": (183, RELIABLE, BODY),
    "180r": (180, RELIABLE, b""), "180r2": (180, [("Require", "100rel"), ("RSeq", "2")], b""),
    "200": (200, [], b""), "200b": (200, [("Session-Expires", "90;refresher=uac"), *TIMER], BODY),
    "200s": (200, [("Session-Expires", "90;refresher=uas"), ("Refer-Sub", "false")], BODY), "202": (202, [], b""),
    "302": (302, [], b""), "401": (401, [], b""), "408": (408, [], b""), "422": (422, [("Min-SE", "1800")], b""),
    "481": (481, [], b""), "486": (486, [], b""), "487": (487, [], b""), "491": (491, [], b""),
    "500": (500, [("Retry-After", "1")], b""), "501": (501, [], b""), "503": (503, [], b""),
}
EVENT = "refer;id=%d"
REQUESTS: dict[str, tuple[str, list[tuple[str, str]], bytes]] = {
    "bye": ("BYE", [], b""), "reinvite": ("INVITE", TIMER, BODY), "reinvite-": ("INVITE", [], b""),
    "update": ("UPDATE", [("Session-Expires", "90"), *TIMER], BODY), "update-": ("UPDATE", TIMER, b""),
    "prack": ("PRACK", [("RAck", "1 1 INVITE")], b""), "prackb": ("PRACK", [("RAck", "1 1 INVITE")], BODY),
    "refer": ("REFER", [("Refer-To", "<sip:2001@192.0.2.9>")], b""),
    "refer-": ("REFER", [("Refer-To", "<sip:2001@192.0.2.9>"), ("Refer-Sub", "false")], b""),
    "notify": ("NOTIFY", [("Event", "refer"), ("Subscription-State", "active;expires=20")], b"SIP/2.0 180 Ringing\r\n"),
    "notified": ("NOTIFY", [("Event", "refer"), ("Subscription-State", "terminated;reason=noresource")],
                 b"SIP/2.0 200 OK\r\n"),
    "lapsed": ("NOTIFY", [("Event", "refer"), ("Subscription-State", "terminated;reason=timeout")], b""),
    "subscribe": ("SUBSCRIBE", [("Event", "refer"), ("Expires", "90")], b""),
    "unsubscribe": ("SUBSCRIBE", [("Event", "refer"), ("Expires", "0")], b""),
    "info": ("INFO", [], b"x"), "options": ("OPTIONS", [], b""), "odd": ("ODD", [], b""),
}
OWNER = ("cancel", "ring", "ringb", "ringr", "forkb", "forkc", "forked", "answer", "answer-", "reject", "reinvite",
         "reinvite-", "update", "bye", "refer", "info", "accept", "accept-", "refuse", "take", "decline", "progress",
         "final", "hog")
CLOCK = (100, 600, 2500, 12_000, 40_000, 130_000)
EVENTS = (*(f"far {name}" for name in ANSWERS), *(f"fork {name}" for name in ("180", "183r", "200b", "486")),
          *(f"send {name}" for name in REQUESTS), "send ack", "send cancel", "send stale", "send prackf", "send byef",
          *(f"owner {name}" for name in OWNER), *(f"wait {ms}" for ms in CLOCK))


class World:
    """ann's leg with a phone that follows no rules."""

    def __init__(self, kind, transactions=256, **more):
        self.scene = Scene(ann=LegSettings(session_expires=1800, authenticate=lambda _leg, _request, _response, times: (
            ("Authorization", "x"),) if times < 2 else ()), transactions=transactions)
        self.phone = Phone(self.scene.link)
        self.owner = self.scene.ann.owner
        self.numbers = count(100)
        self.leg: Any
        if kind == "uac":
            self.leg = self.scene.ann.call(EVE, more.get("body"), targets=[EVE], ring_ms=100_000)
            self.scene.run()
            self.invite = self.phone.last("INVITE")
        else:
            self.branch = "z9hG4bKfirst"
            self.phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=1, body=more.get("body", BODY),
                               branch=self.branch, headers=[("Supported", "timer, 100rel")])
            self.scene.run()
            self.leg = self.scene.ann.leg
            self.invite = None

    def step(self, event):
        who, _, what = event.partition(" ")
        if who in ("far", "fork"):
            self._respond(what, "phone" if who == "far" else "fork")
        elif who == "send":
            self._send(what)
        elif who == "owner":
            self.scene.ann.agent.advance(self.scene.link.now)
            with suppress(LimitExceeded):
                self._command(what)
        else:
            self.scene.run(int(what))
        self.scene.run()

    def _respond(self, what, tag):
        """To the latest request of ours that was not answered finally, or to the latest."""
        requests = [m for m in self.phone.got if m.is_request and m.method not in ("ACK", "CANCEL")]
        if requests:
            status, headers, body = ANSWERS[what]
            self.phone.respond(requests[-1], status, tag if status > 100 else "", headers, body)

    def _send(self, what):
        dialog = self.leg.dialog
        call_id, ours = ("in", "") if dialog is None else (dialog.call_id, dialog.local_tag)
        if what == "cancel":
            self.phone.request("CANCEL", "sip:192.0.2.1", call_id="in", cseq=1, branch=getattr(self, "branch", "x"))
        elif what == "ack":
            self.phone.request("ACK", "sip:192.0.2.1", call_id=call_id, cseq=dialog.remote_cseq or 1 if dialog else 1,
                               to_tag=ours, body=BODY if not self.leg.remote_sdp else b"")
        elif what == "stale":
            self.phone.request("INFO", "sip:192.0.2.1", call_id=call_id, cseq=1, to_tag=ours)
        else:
            if what.endswith("f"):
                # In an early dialog that is not the leg's.
                what = what[:-1]
                ours = next((m.to_tag for m in reversed(self.phone.got) if not m.is_request and m.to_tag not in (
                    "", ours) and m.method == "INVITE"), "none")
            method, headers, body = REQUESTS[what]
            self.phone.request(method, "sip:192.0.2.1", call_id=call_id, cseq=next(self.numbers), to_tag=ours or "none",
                               headers=headers, body=body)

    def _latest(self, name):
        return next((event[1] for event in reversed(self.owner.heard) if event[0] == name), None)

    def _command(self, what):
        leg, exchange, referral = self.leg, self._latest("offer"), self._latest("refer")
        commands: dict[str, Any] = {
            "cancel": leg.cancel, "ring": leg.ring, "ringb": lambda: leg.ring(183, BODY),
            "ringr": lambda: leg.ring(180, reliable=True), "forkb": lambda: leg.ring(183, BODY, fork="b"),
            "forkc": lambda: leg.ring(183, BODY, fork="c"), "forked": lambda: leg.answer(BODY, fork="c"),
            "answer": lambda: leg.answer(BODY), "answer-": leg.answer,
            "reject": lambda: leg.reject(486), "reinvite": lambda: leg.reinvite(BODY),
            "reinvite-": lambda: leg.reinvite(b""), "update": lambda: leg.update(BODY), "bye": leg.bye,
            "refer": lambda: leg.refer("sip:2001@192.0.2.9"), "info": lambda: leg.forward("INFO", body=b"x"),
            "hog": self._hog,
        }
        if what in commands:
            commands[what]()
        elif what in ("accept", "accept-", "refuse") and exchange is not None:
            if what == "refuse":
                exchange.reject()
            else:
                exchange.accept(BODY if what == "accept" else b"")
        elif what in ("take", "decline", "progress", "final") and referral is not None:
            {"take": referral.accept, "decline": lambda: referral.reject(603),
             "progress": lambda: referral.progress(180), "final": lambda: referral.final(200)}[what]()

    def _hog(self):
        """Other calls take what transactions there are, for half a minute."""
        agent = self.scene.ann.agent
        out = Outgoing(method="OPTIONS", uri="sip:192.0.2.66", call_id="hog", cseq=1, local="<sip:a@b>", local_tag="1",
                       remote="<sip:c@d>")
        with suppress(LimitExceeded):
            for _ in range(16):
                agent.request(agent.time, out, ("192.0.2.66", 5060), Handler())

    def check(self):
        names = self.owner.names
        assert names.count("ended") <= 1
        if "ended" in names:
            after = names[names.index("ended") + 1:]
            assert set(after) <= {"refer_progress"}, names
            assert self.leg.state == "ended"
        else:
            assert self.leg.state != "ended"
        assert names.count("answered") <= 1
        assert names.count("failed") + names.count("answered") <= 1
        assert names.count("established") <= 1
        done = [event[1] for event in self.owner.heard if event[0] == "reoffer_done"]
        assert len(done) == len(set(map(id, done)))
        for token in {event[1] for event in self.owner.heard if event[0] == "refer_progress"}:
            kinds = [event[2] for event in self.owner.heard if event[0] == "refer_progress" and event[1] is token]
            assert sum(kind in ("refused", "final", "unknown") for kind in kinds) <= 1
            assert kinds.count("accepted") <= 1
            assert kinds[-1] in ("refused", "final", "unknown") or not token.outcome

    def end(self):
        """Hang up, and let everything run out with a phone that says nothing any more."""
        self.check()
        self.scene.ann.agent.advance(self.scene.link.now)
        self.leg.bye()
        self.scene.run(700_000)
        self.check()
        assert self.owner.count("ended") == 1, (self.leg, self.owner.names)
        for event in self.owner.heard:
            if event[0] == "refer_progress":
                assert event[1].outcome
        agent = self.scene.ann.agent
        assert agent.dialogs == {}, agent.dialogs
        assert agent.live == 0
        assert agent.deadline() is None


STATES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "uac inviting": ("uac", {}, []),
    "uac early": ("uac", {}, ["far 180"]),
    "uac early, answered reliably": ("uac", {}, ["far 183r"]),
    "uac early, offered reliably": ("uac", {"body": b""}, ["far 183r"]),
    "uac cancelled early": ("uac", {}, ["owner cancel"]),
    "uac cancelled": ("uac", {}, ["far 180", "owner cancel"]),
    "uac rang out": ("uac", {}, ["far 180", "wait 130000"]),
    "uac failed": ("uac", {}, ["far 486"]),
    "uac up": ("uac", {}, ["far 200b"]),
    "uac up, offer to answer": ("uac", {"body": b""}, ["far 200b"]),
    "uac up, re-INVITE sent": ("uac", {}, ["far 200b", "owner reinvite"]),
    "uac up, offerless re-INVITE answered": ("uac", {}, ["far 200b", "owner reinvite-", "far 200b"]),
    "uac up, glare": ("uac", {}, ["far 200b", "owner reinvite", "far 491"]),
    "uac up, re-INVITE came": ("uac", {}, ["far 200b", "send reinvite"]),
    "uac up, UPDATE came": ("uac", {}, ["far 200b", "send update"]),
    "uac up, re-INVITE answered": ("uac", {}, ["far 200b", "send reinvite-", "owner accept"]),
    "uac up, REFER sent": ("uac", {}, ["far 200b", "owner refer"]),
    "uac up, REFER accepted": ("uac", {}, ["far 200b", "owner refer", "far 202"]),
    "uac up, REFER reported": ("uac", {}, ["far 200b", "owner refer", "far 202", "send notify"]),
    "uac up, REFER came": ("uac", {}, ["far 200b", "send refer"]),
    "uac up, REFER taken": ("uac", {}, ["far 200b", "send refer", "owner take"]),
    "uac up, final report sent": ("uac", {}, ["far 200b", "send refer", "owner take", "far 200", "owner final"]),
    "uac ending": ("uac", {}, ["far 200b", "owner bye"]),
    "uac ending, REFER open": ("uac", {}, ["far 200b", "owner refer", "far 202", "owner bye", "far 200"]),
    "uac ended": ("uac", {}, ["far 200b", "send bye"]),
    "uas inviting": ("uas", {}, []),
    "uas early": ("uas", {}, ["owner ring"]),
    "uas early, reliable": ("uas", {}, ["owner ringb"]),
    "uas early, reliable, answered": ("uas", {}, ["owner ringb", "owner ringr", "owner answer"]),
    "uas early, forked": ("uas", {}, ["owner forkb", "owner forkc"]),
    "uas early, forked, answered": ("uas", {}, ["owner forkb", "owner forkc", "owner forked"]),
    "uas up, forked": ("uas", {}, ["owner forkb", "owner forkc", "send prackf", "owner forked", "send ack"]),
    "uas early, offered reliably": ("uas", {"body": b""}, ["owner ringb"]),
    "uas early, offer in PRACK": ("uas", {}, ["owner ringb", "send prackb"]),
    "uas answered": ("uas", {}, ["owner answer"]),
    "uas offered": ("uas", {"body": b""}, ["owner answer"]),
    "uas answered and hung up": ("uas", {}, ["owner answer", "owner bye"]),
    "uas up": ("uas", {}, ["owner answer", "send ack"]),
    "uas up, REFER taken, far end gone": (
        "uas", {}, ["owner answer", "send ack", "send refer", "owner take", "send bye"]),
    "uas cancelled": ("uas", {}, ["send cancel"]),
    "uas rejected": ("uas", {}, ["owner reject"]),
}


@pytest.mark.parametrize("state", STATES)
def test_every_event_in_every_state(state):
    kind, more, steps = STATES[state]
    for event in EVENTS:
        world = World(kind, **more)
        for step in (*steps, event):
            world.step(step)
            world.check()
        world.end()


class AnyOrder(RuleBasedStateMachine):
    """Long chains of the same events; the owner may act inside of what it hears, and transactions may run out."""

    @initialize(kind=st.sampled_from(["uac", "uas"]), offerless=st.booleans(),
                transactions=st.sampled_from([256, 16]),
                inside=st.dictionaries(st.sampled_from(["progress", "answered", "failed", "cancelled", "established",
                                                        "offer", "reoffer_done", "refer", "refer_progress", "message"]),
                                       st.sampled_from(OWNER), max_size=2))
    def begin(self, kind, offerless, transactions, inside):
        self.world = World(kind, transactions, **({"body": b""} if offerless else {}))

        def act(what):
            with suppress(LimitExceeded):
                self.world._command(what)

        for name, what in inside.items():
            self.world.owner.do[name] = lambda leg, *_, what=what: act(what)

    @rule(event=st.sampled_from(EVENTS))
    def step(self, event):
        self.world.step(event)

    @invariant()
    def holds(self):
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self):
        if hasattr(self, "world"):
            self.world.owner.do.clear()
            self.world.end()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=250, stateful_step_count=25, deadline=None, derandomize=True,
                                 suppress_health_check=list(HealthCheck))
