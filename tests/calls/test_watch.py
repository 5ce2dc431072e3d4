"""Targets as they are judged while calls pass: probes on the wire, what real calls meet, shares, draining."""
import random
from collections import Counter

import pytest

from proxy.events import Event, ListUpstreams, TargetState
from proxy.policy.engine import Policy

from .scene import CALLER, CONFIG, EDGE, SECOND, TARGET, Scene, config_of, sdp

ONE = 'targets = [{address = "127.0.0.4:5060"}]'
TWO = 'targets = [{address = "127.0.0.4:5060"}, {address = "127.0.0.5:5060"}]'
TO_PBX = '[[route]]\nto = "pbx"\n'
PROBES = 'health = {probe_interval = 10.0, probe_timeout = 1.0}'


class Pair(Scene):
    """Two targets of one upstream; calls are forwarded, or controlled."""

    def __init__(self, settings: str = PROBES, *, targets: str = TWO, control: bool = False):
        base = CONFIG.replace(ONE, f"{targets}\n{settings}")
        super().__init__(TO_PBX + ("control = true\n" if control else ""), base=base)
        self.watch = self.calls.watch
        self.watch._chance = random.Random(1)
        self.logged: list[tuple[str, str]] = []
        self.watch.log = lambda level, event, **fields: self.logged.append((event, fields["target"]))
        self.statuses = {TARGET: 200, SECOND: 200}
        """What each of them answers OPTIONS with; 0: nothing."""
        self.probed: list[tuple[int, str]] = []
        self.invites: Counter[str] = Counter()
        self.trying = True
        """Whether INVITEs are answered 100."""
        self.proxy.advance(self.link.now)
        self.watch.start()

    def targets(self) -> list[TargetState]:
        return [one for one in self.watch.states() if one.upstream == "pbx"]

    def states(self) -> dict[str, str]:
        return {one.address.partition(":")[0]: one.state for one in self.targets()}

    def shares(self) -> dict[str, float]:
        return {one.address.partition(":")[0]: one.share for one in self.targets()}

    def live(self, ms: int, step: int = 100) -> None:
        """Let the time pass, the targets answering probes."""
        for _ in range(ms // step):
            self.run(step)
            for phone, host in ((self.target, TARGET), (self.second, SECOND)):
                for received in phone.received():
                    if received.name == "OPTIONS":
                        if received.message.branch not in {branch for _, branch in self.probed}:
                            self.probed.append((self.link.now, received.message.branch))
                        if self.statuses[host]:
                            phone.answer(received, self.statuses[host])
                    elif received.name == "INVITE":
                        self.invites[host] += 1
                        if self.trying:
                            phone.answer(received, 100)
            self.run()

    def place(self, count: int) -> None:
        """Calls that nobody answers finally; where they went stands in `invites` after the next `live`."""
        for _ in range(count):
            self.numbers += 1
            self.caller.request("INVITE", "sip:2001@127.0.0.1", call_id=f"call-{self.numbers}")
        self.live(100)


def test_a_probe_is_a_request_of_the_edges_own():
    scene = Pair(targets=ONE)
    scene.run(10_000)
    probe = scene.target.received()[0]
    assert probe.message.method == "OPTIONS"
    assert probe.message.uri == "sip:127.0.0.4:5060"
    assert probe.header("Max-Forwards") == "70"
    assert EDGE in (probe.header("Via") or "")
    assert probe.header("From") != probe.header("To")


def test_probes_come_in_their_interval_and_apart():
    scene = Pair()
    begun = scene.link.now
    scene.live(100_000)
    times = [at for at, _ in scene.probed]
    assert 18 <= len(times) <= 22
    firsts = [at for at in times if at < begun + 10_000]
    assert len(firsts) == 2
    assert firsts[0] != firsts[1]
    assert scene.states() == {TARGET: "up", SECOND: "up"}
    assert scene.calls.statistics()["probes_sent"] == len(times)


def test_many_targets_are_not_probed_at_once():
    targets = ", ".join(f'{{address = "127.1.0.{number}"}}' for number in range(200))
    scene = Scene(TO_PBX, base=CONFIG.replace(ONE, f"targets = [{targets}]\n{PROBES}"))
    scene.calls.watch._chance = random.Random(1)
    scene.proxy.advance(scene.link.now)
    scene.calls.watch.start()
    sent = []
    for _ in range(300):
        before = scene.calls.statistics().get("probes_sent", 0)
        scene.run(100)
        sent.append(scene.calls.statistics().get("probes_sent", 0) - before)
    # One each in ten seconds, and one more after the first failure.
    assert 700 < sum(sent) < 900
    # 2 to 3 in a tenth of a second; a herd would be 200 at once.
    assert max(sent) <= 12


def test_never_more_than_one_is_on_its_way():
    scene = Pair("health = {probe_interval = 0.5, probe_timeout = 30.0}", targets=ONE)
    scene.statuses[TARGET] = 0
    scene.live(20_000)
    assert scene.calls.statistics()["probes_sent"] == 1


def test_a_target_that_falls_silent_is_left_out_and_comes_back_slowly():
    scene = Pair()
    scene.live(20_000)
    scene.statuses[SECOND] = 0
    scene.live(50_000)
    assert scene.states() == {TARGET: "up", SECOND: "down"}
    assert ("target degraded", f"{SECOND}:5060") in scene.logged
    assert ("target down", f"{SECOND}:5060") in scene.logged
    scene.place(20)
    assert scene.invites == {TARGET: 20}
    scene.statuses[SECOND] = 200
    scene.live(25_000)
    assert scene.states()[SECOND] == "up"
    assert 0 < scene.shares()[SECOND] < 1
    scene.live(20_000)
    assert scene.shares()[SECOND] == 1
    scene.invites.clear()
    scene.place(60)
    assert min(scene.invites[TARGET], scene.invites[SECOND]) > 5
    said = [one.name for one in scene.services.said if isinstance(one, Event) and one.name.startswith("target.")]
    assert said == ["target.degraded", "target.down", "target.up"]


def test_what_a_probe_may_be_answered_is_configured():
    scene = Pair()
    scene.statuses.update({TARGET: 404, SECOND: 503})
    scene.live(60_000)
    assert scene.states() == {TARGET: "up", SECOND: "down"}
    scene = Pair('health = {probe_interval = 10.0, alive = ["200", "503"]}')
    scene.statuses.update({TARGET: 404, SECOND: 503})
    scene.live(60_000)
    assert scene.states() == {TARGET: "down", SECOND: "up"}


@pytest.mark.parametrize("control", [False, True])
def test_real_calls_say_it_without_probes(control):
    scene = Pair("try_timeout = 0.5", control=control)
    scene.live(1_000)
    for number in range(40):
        scene.caller.request("INVITE", "sip:2001@127.0.0.1", call_id=f"call-{number}")
        scene.run(10)
        for received in scene.second.received():
            if received.name == "INVITE":
                scene.second.answer(received, 486)
        scene.run(1_000)
        for received in scene.second.received():
            if received.name == "INVITE":
                scene.second.answer(received, 486)
        scene.run()
        scene.target.received()
    assert scene.states() == {TARGET: "down", SECOND: "up"}
    assert scene.targets()[0].last_failure == "no answer"


@pytest.mark.parametrize("control", [False, True])
def test_503_counts_and_other_refusals_do_not(control):
    scene = Pair("", targets=ONE, control=control)
    for status, state in ((486, "up"), (500, "up"), (503, "down")):
        for number in range(4):
            scene.caller.request("INVITE", "sip:2001@127.0.0.1", call_id=f"{status}-{number}")
            scene.run(10)
            scene.target.answer(next(one for one in scene.target.received() if one.name == "INVITE"), status)
            scene.run(10)
        assert scene.states()[TARGET] == state


def test_a_target_that_nobody_probes_is_tried_again():
    scene = Pair("try_timeout = 0.5\nhealth = {retry_after = 5.0}")
    scene.trying = False
    scene.place(12)
    scene.live(1_000)
    assert scene.states() == {TARGET: "down", SECOND: "down"}
    scene.live(5_000)
    assert scene.states() == {TARGET: "degraded", SECOND: "degraded"}


def test_where_all_are_down_all_are_tried_or_none():
    scene = Pair(PROBES)
    scene.statuses.update({TARGET: 0, SECOND: 0})
    scene.live(60_000)
    assert scene.states() == {TARGET: "down", SECOND: "down"}
    scene.place(10)
    assert sum(scene.invites.values()) == 10
    scene = Pair("health = {probe_interval = 10.0, all_down = false}")
    scene.statuses.update({TARGET: 0, SECOND: 0})
    scene.live(60_000)
    scene.place(3)
    assert not scene.invites
    assert Counter(one.name for one in scene.caller.received()) == {"503": 3}


def test_the_verdict_that_is_remembered_follows():
    """One target, a constant verdict: the stack asks nobody as long as nothing changes."""
    scene = Pair("uri = \"\"\nhealth = {probe_interval = 10.0, all_down = false}", targets=ONE)
    scene.place(3)
    assert scene.proxy.statistics()["decided_by_memo"] == 2
    scene.statuses[TARGET] = 0
    scene.live(60_000)
    scene.place(1)
    assert "503" in [one.name for one in scene.caller.received()]
    scene.statuses[TARGET] = 200
    scene.live(60_000)
    scene.invites.clear()
    scene.place(2)
    assert scene.invites == {TARGET: 2}


def test_a_draining_target_gets_nothing_new_and_keeps_its_calls():
    scene = Pair("")
    scene.watch.drain(frozenset({f"{SECOND}:5060"}))
    assert scene.states() == {TARGET: "up", SECOND: "draining"}
    scene.place(20)
    assert scene.invites == {TARGET: 20}
    scene.watch.drain(frozenset())
    assert scene.states()[SECOND] == "up"
    assert scene.shares()[SECOND] == 0.1
    assert scene.logged == [("target draining", f"{SECOND}:5060"), ("target up", f"{SECOND}:5060")]


def test_what_is_known_outlives_a_new_configuration():
    scene = Pair("health = {probe_interval = 10.0, probe_timeout = 1.0}")
    scene.watch.drain(frozenset({f"{TARGET}:5060"}))
    scene.statuses[SECOND] = 0
    scene.live(60_000)
    base = CONFIG.replace(ONE, TWO.replace("]", ', {address = "127.0.0.6:5060"}]') + f"\n{PROBES}")
    policy = Policy(config_of(TO_PBX, base))
    scene.calls.configure(policy)
    assert scene.states() == {TARGET: "draining", SECOND: "down", "127.0.0.6": "up"}
    assert [address.host for address in policy.peers["pbx"].members.order("x").addresses] == ["127.0.0.6"]
    sent = scene.calls.statistics()["probes_sent"]
    scene.live(10_500)
    assert 2 <= scene.calls.statistics()["probes_sent"] - sent <= 5
    scene.calls.configure(Policy(config_of(TO_PBX, CONFIG)))
    assert scene.states() == {TARGET: "draining"}


def test_the_least_loaded_gets_the_next_call():
    scene = Pair('balance = "least-load"')
    scene.place(10)
    assert scene.invites == {TARGET: 5, SECOND: 5}
    assert [one.calls for one in scene.targets()] == [5, 5]
    reply = scene.calls.obey(ListUpstreams(ask=7))
    assert reply.upstreams == {"agent": 0, "pbx": 10}
    assert [(one.upstream, one.calls) for one in reply.targets] == [("agent", 0), ("pbx", 5), ("pbx", 5)]


@pytest.mark.parametrize("control", [False, True])
def test_failover_is_no_storm(control):
    """Both targets answer 503: of 100 calls a fifth goes on to the other one, and a few by the rate."""
    scene = Pair("health = {down_after = 1000, degraded_after = 1000, retry_rate = 0, retry_burst = 5}",
                 control=control)
    invites = 0
    for number in range(100):
        scene.caller.request("INVITE", "sip:2001@127.0.0.1", call_id=f"call-{number}")
        for _ in range(3):
            scene.run(10)
            for phone in (scene.target, scene.second):
                for received in phone.received():
                    if received.name == "INVITE":
                        invites += 1
                        phone.answer(received, 503)
        scene.run(10)
    assert 120 <= invites <= 126
    refused = scene.proxy.statistics()["retries_refused"] + scene.calls.statistics().get("calls_retries_refused", 0)
    assert refused == 200 - invites


@pytest.mark.parametrize("control", [False, True], ids=["forwarded", "controlled"])
def test_a_target_that_asks_for_a_pause_gets_nothing_for_so_long(control):
    """RFC 3261 21.5.4: the call itself goes on to the next one, and others go there at once."""
    first_alone = '[{address = "127.0.0.4:5060"}, {address = "127.0.0.5:5060", priority = 1}]'
    scene = Pair("health = {longest_pause = 30.0}", targets=f"targets = {first_alone}", control=control)
    offer = {"headers": [("Content-Type", "application/sdp")], "body": sdp(CALLER)}
    scene.caller.request("INVITE", "sip:2001@127.0.0.1", call_id="one", **offer)
    scene.run()
    scene.target.answer(scene.target.take("INVITE"), 503, headers=[("Retry-After", "12 (reloading);duration=60")])
    scene.run()
    assert "INVITE" in scene.second.names()
    assert scene.states() == {TARGET: "down", SECOND: "up"}
    assert scene.logged == [("target down", "127.0.0.4:5060")]
    for second in range(11):
        scene.caller.request("INVITE", "sip:2001@127.0.0.1", call_id=f"during-{second}", **offer)
        scene.run(1000)
    assert {name for name in scene.target.names() if name != "ACK"} == set()
    scene.run(1000)
    assert scene.states()[TARGET] == "degraded"
    scene.second.received()
    scene.caller.request("INVITE", "sip:2001@127.0.0.1", call_id="after", **offer)
    scene.run()
    assert "INVITE" in scene.target.names()


def test_one_that_is_down_and_tried_for_want_of_others_may_still_ask_for_a_pause():
    scene = Pair("health = {down_after = 1}", targets=ONE)
    for number, more in enumerate(([], [("Retry-After", "9")])):
        scene.caller.request("INVITE", "sip:2001@127.0.0.1", call_id=f"call-{number}")
        scene.run()
        scene.target.answer(scene.target.take(*["ACK", "INVITE"][1 - number:]), 503, headers=more)
        scene.run()
        assert scene.states() == {TARGET: "down"}
    scene.target.take("ACK")
    scene.caller.request("INVITE", "sip:2001@127.0.0.1", call_id="during")
    scene.run(8_900)
    assert scene.target.names() == []
    scene.run(200)
    scene.caller.request("INVITE", "sip:2001@127.0.0.1", call_id="after")
    scene.run()
    scene.target.take("INVITE")


def test_the_only_target_gets_its_pause_too_and_a_probe_may_ask_for_it():
    scene = Pair(PROBES, targets=ONE)
    while not (probes := scene.target.received()):
        scene.run(100)
    scene.target.answer(probes[0], 503, headers=[("Retry-After", "20")])
    scene.run()
    assert scene.states() == {TARGET: "down"}
    scene.statuses[TARGET] = 200
    scene.place(1)
    assert (scene.invites[TARGET], scene.caller.names()) == (0, ["503"])
    # Its answers to probes meanwhile do not end it.
    scene.live(15_000)
    assert scene.states() == {TARGET: "down"}
    scene.live(6_000)
    scene.place(1)
    assert scene.invites[TARGET] == 1
