"""Calls and transfers over a network that loses, delays, repeats and reorders (transfers.md section 7, row 19), with
ends that act by themselves: whatever is lost, each transfer has one outcome in time and nothing is left."""
from typing import Any

import pytest

from proxy.config import Action
from proxy.events import TERMINAL
from sipcore.net.loopback import Conditions
from sipcore.stack.capabilities import EXTENSIONS
from sipcore.stack.handler import Handler
from sipcore.stack.identity import Identity
from sipcore.stack.leg import Leg
from sipcore.stack.useragent import UserAgent

from .scene import AGENT, BLIND, CALLER, EDGE, ROUTE, RUN_BLIND, TARGET, Scene, sdp
from .stage import Stage

LOSSY = Conditions(delay=20, jitter=60, loss=0.2, duplicate=0.05)
DEADLINE = 90_000 + 10
"""ms that a transfer has, and a tick of the wheel."""
BUSY, GONE, SILENT = "busy", "gone", "silent"


class End(Handler):
    """A far end that answers everything: its calls, REFERs (with what `does` says of them), re-INVITEs, BYEs."""

    def __init__(self, link: Any, host: str, does: str = ""):
        self.host = host
        self.does = does
        self.agent = UserAgent(Identity(host.encode() * 4), handler=self, extensions=EXTENSIONS, transactions=256)
        # The port is the scripted phone's; the link takes whoever attached last.
        link.attach(self.agent, [(host, 5060)])
        self.leg: Leg | None = None
        self.told: list[int] = []
        self.ended = 0

    def on_request(self, tx: Any) -> None:
        if tx.request.method != "INVITE":
            super().on_request(tx)
            return
        leg = Leg.incoming(self.agent, tx, self)
        if leg is None:
            return
        if self.does == BUSY:
            leg.reject(486)
        elif self.does != SILENT:
            self.leg = leg
            leg.ring(180)
            leg.answer(sdp(self.host))

    def call(self, now: int) -> None:
        self.agent.advance(now)
        self.leg = Leg.outgoing(self.agent, self)
        self.leg.invite("sip:bot@127.0.0.1", (EDGE, 5060), local=f"<sip:x@{self.host}>", remote="<sip:bot@127.0.0.1>",
                        body=sdp(self.host))

    def on_refer(self, leg: Leg, referral: Any) -> None:
        referral.accept()
        if self.does == BUSY:
            referral.final(486)
        elif self.does == GONE:
            leg.bye()
        elif self.does != SILENT:
            referral.progress(180)
            referral.final(200)

    def on_refer_progress(self, leg: Leg, token: Any, kind: str, status: int, reason: str) -> None:
        if kind in ("refused", "final", "unknown"):
            self.told.append(status)

    def on_offer(self, leg: Leg, exchange: Any) -> None:
        exchange.accept(sdp(self.host))

    def on_ended(self, leg: Leg, by: str, reason: str) -> None:
        self.ended += 1

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda *_: None


def quiet(scene: Scene, ends: list[End]) -> None:
    scene.over(900_000)
    for end in ends:
        assert end.agent.take_troubles() == []
        assert end.agent.live == 0
        assert end.agent.dialogs == {}


def begin(scene: Scene, *ends: End) -> End:
    """A call that is up, if the network lets it."""
    caller = ends[0]
    caller.call(scene.link.now)
    scene.run(30_000)
    return caller


@pytest.mark.parametrize("seed", range(12))
def test_plain_calls(seed):
    scene = Scene(seed=seed, conditions=LOSSY)
    caller, agent = End(scene.link, CALLER), End(scene.link, AGENT)
    begin(scene, caller, agent)
    assert caller.leg is not None
    caller.agent.advance(scene.link.now)
    caller.leg.bye()
    quiet(scene, [caller, agent])
    assert caller.ended == 1
    record = scene.services.call()
    assert record.state == "ended"
    assert record.status in (200, 408, 503)


@pytest.mark.parametrize("does", ["", BUSY, GONE, SILENT])
@pytest.mark.parametrize("seed", range(6))
def test_blind_transfers_that_the_agent_asks_for(seed, does):
    scene = Scene(ROUTE + BLIND + RUN_BLIND, seed=100 + seed, conditions=LOSSY)
    caller, agent = End(scene.link, CALLER, does), End(scene.link, AGENT)
    begin(scene, caller, agent)
    if agent.leg is None or agent.leg.state != "up":
        quiet(scene, [caller, agent])
        return
    agent.agent.advance(scene.link.now)
    token = agent.leg.refer("sip:2001@192.0.2.9", wait_ms=200_000)
    assert token is not None
    scene.run(250_000)
    transfers = [said.transfer for said in scene.services.records() if said.transfer is not None]
    assert len(transfers) <= 1
    for transfer in transfers:
        assert transfer.state in TERMINAL
        assert transfer.ended - transfer.began <= DEADLINE
        assert transfer.state != "completed" or does == ""
        if transfer.state == "completed":
            assert transfer.status == 200
    assert len(agent.told) == 1
    for end in (caller, agent):
        end.agent.advance(scene.link.now)
        if end.leg is not None:
            end.leg.bye()
    quiet(scene, [caller, agent])


@pytest.mark.parametrize("does", ["", BUSY, SILENT])
@pytest.mark.parametrize("seed", range(5))
def test_warm_transfers_by_the_api(seed, does):
    with Stage(seed=200 + seed, conditions=LOSSY) as stage:
        caller, agent = End(stage.link, CALLER), End(stage.link, AGENT)
        target = End(stage.link, TARGET, does)
        begin(stage, caller, agent, target)
        up = [call for call in stage.calls.all if call.state == "up"]
        if up:
            reply = stage.start(Action(name="given", mode="warm", targets=("sip:2001@127.0.0.4:5060",)))
            assert reply.status == 202
            stage.run(100_000)
            record = stage.services.transfer()
            assert record.state in TERMINAL
            assert record.ended - record.began <= DEADLINE
            assert (record.state == "completed") <= (does == "")
        for end in (caller, agent, target):
            end.agent.advance(stage.link.now)
            if end.leg is not None:
                end.leg.bye()
        quiet(stage, [caller, agent, target])
